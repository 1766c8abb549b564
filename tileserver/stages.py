"""One request's way through the pipeline: where its time goes, and whether anybody still waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

STAGES: Final = ("queue", "read", "infer", "encode")
# Seconds by stage of what was ready.
NO_WORK: Final[Mapping[str, float]] = dict.fromkeys(STAGES, 0.0)

Wanted = Callable[[], bool]


def always() -> bool:
    """Whether somebody waits, where nobody ever leaves: seeding, warming up."""
    return True


class Stages:
    """Seconds spent waiting, reading, in the network and encoding, for one request.

    Args:
        wanted: whether anybody still waits for it.
    """

    def __init__(self, wanted: Wanted = always) -> None:
        self.wanted = wanted
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds towards a stage."""
        self.seconds[stage] += seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)


def server_timing(seconds: Mapping[str, float]) -> str:
    """Value of the header Server-Timing, in milliseconds, out of seconds by stage."""
    return ", ".join(f"{stage};dur={1000 * taken:.1f}" for stage, taken in seconds.items())
