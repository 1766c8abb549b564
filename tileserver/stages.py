"""The stages of the pipeline: time spent in each, and whether the request is still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

STAGES: Final = ("queue", "read", "infer", "encode")
# Seconds by stage of a tile that was cached.
ZERO_SECONDS: Final[Mapping[str, float]] = dict.fromkeys(STAGES, 0.0)

# Interval at which a wait looks whether its client is still there, in seconds.
POLL_S: Final = 0.1

# Returns whether any client still waits for the result.
Wanted = Callable[[], bool]


def always() -> bool:
    """Return True: a `Wanted` for work that no client can abandon, such as seeding."""
    return True


class Stages:
    """Time that one request spends in each stage: waiting, reading, in the network, encoding.

    Args:
        wanted: returns whether any client still waits for the result.

    Attributes:
        seconds: seconds by the stage's name.
    """

    def __init__(self, wanted: Wanted = always) -> None:
        self.wanted = wanted
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        self.seconds[stage] += seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time that the `with` block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)


def server_timing(seconds: Mapping[str, float]) -> str:
    """Return the value of the Server-Timing header, in milliseconds, from seconds by stage."""
    return ", ".join(f"{stage};dur={1000 * taken:.1f}" for stage, taken in seconds.items())
