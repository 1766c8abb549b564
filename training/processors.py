"""How many processors are free, and that threads which have nothing to do leave them alone."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from sr_model.machine import usable_cores


def free_processors() -> int:
    """Processors that this process may use and that others did not use in the last minute; at least one."""
    try:
        busy = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows tells none
        busy = 0.0
    return max(1, usable_cores() - round(busy))


def wait_passively(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads sleep at barriers instead of spinning; to be called before torch is loaded.

    A thread that waits for another one, which waits for a processor, would take that processor from it.
    """
    for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}.items():
        environment.setdefault(name, value)
