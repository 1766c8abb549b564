"""How much memory is free for pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Memory that this process may take without others having to give any back, in bytes.

    What the system says is available, or what is left to the container, if that is less.
    """
    return min(_system_bytes(), _group_bytes())


def _system_bytes() -> int:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:  # not Linux: half of all memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return 4 << 30


def _group_bytes() -> int:
    """Of a container: its limit less what it holds, but for cached files (control groups, version 2)."""
    try:
        limit = (_GROUP / "memory.max").read_text().strip()
        held = int((_GROUP / "memory.current").read_text())
        files = [
            int(line.split()[1])
            for line in (_GROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        ]
        return int(limit) - held + sum(files)
    except (OSError, ValueError):  # no group, or `max`
        return 1 << 62
