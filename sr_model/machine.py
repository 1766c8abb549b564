"""The share of the machine that this process may use: a container's limits, not the host's cores and memory.

Imports nothing but the standard library, and reads Linux's cgroups (versions 1 and 2) where there are any.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
_CPUINFO: Final = Path("/proc/cpuinfo")
_VNNI: Final = {"avx_vnni", "avx512_vnni"}


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1: by affinity and by cgroup quota."""
    return quota_cores() or _affinity()


def quota_cores() -> int | None:
    """Return the cores that a cgroup quota amounts to, rounded up, or None if it leaves all of them.

    Unlike affinity, which libraries ask for themselves, a quota is not known to OpenVINO and torch.
    """
    quotas = [quota / period for quota, period in _quotas() if quota > 0 and period > 0]
    cores = max(1, math.ceil(min(quotas))) if quotas else _affinity()
    return cores if cores < _affinity() else None


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_bytes_faster(cpuinfo: Path = _CPUINFO) -> bool:
    """Return whether integers of eight bits are multiplied faster than float32; False where Linux does not tell.

    They are with VNNI, and with AVX2 alone (docs/benchmarks.md). AVX-512 without VNNI was not measured.

    Args:
        cpuinfo: Linux's description of the processor.
    """
    with contextlib.suppress(OSError):
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
        flags = set(found[1].split()) if found else set()
        return not _VNNI.isdisjoint(flags) or ("avx2" in flags and "avx512f" not in flags)
    return False


def usable_memory_bytes() -> int | None:
    """Return the memory that this process may use, or None if it is unknown: the machine's, or a cgroup's limit."""
    found = [limit for limit in _memory_limits() if limit > 0]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not a POSIX system
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def _quotas() -> Iterator[tuple[int, int]]:
    """Yield CPU time and period of each quota, in microseconds."""
    for folder in _folders(""):
        numbers = _numbers(folder / "cpu.max")
        if len(numbers) == 2:
            yield numbers[0], numbers[1]
    for folder in _folders("cpu"):
        both = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(both) == 2:
            yield both[0], both[1]


def _memory_limits() -> Iterator[int]:
    """Yield the limits that apply to memory, in bytes; those without a number, and what means none, are left out."""
    for folder in _folders(""):
        yield from _numbers(folder / "memory.max")
    for folder in _folders("memory"):
        yield from _numbers(folder / "memory.limit_in_bytes")


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and those above it: the limits of all apply.

    Args:
        controller: of version 1, such as memory; empty for version 2. In a container only the top may be visible.
    """
    yield _CGROUPS / controller
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 1 mounts some together, in an order that differs: `cpu,cpuacct` or `cpuacct,cpu`.
        if controller in controllers.split(","):
            parts = Path(path).parts[1:]
            for top in dict.fromkeys((_CGROUPS / controllers, _CGROUPS / controller)):
                yield from (top.joinpath(*parts[:end]) for end in range(len(parts) + 1))


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file of a cgroup; none if it is missing or says "max"."""
    try:
        return [int(word) for word in file.read_text().split() if word.lstrip("-").isdecimal()]
    except OSError:
        return []
