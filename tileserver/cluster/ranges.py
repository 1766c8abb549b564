"""Ranges of a job's items as Ray tasks, behind the protocol of `tileserver.jobs.pool`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from tileserver.cluster.remote_network import cause_of
from tileserver.jobs.pool import Stop

T = TypeVar("T")
R = TypeVar("R")

# A worker that dies repeats this many items at most.
RANGE_ITEMS: Final = 8
# How often Ray runs a range again whose worker or host has died.
RETRIES: Final = 5
# Ranges that are worked on per network, at least: while one ends, the next begins.
RANGES_PER_NETWORK: Final = 2

# Begins a range: its number and its items. Returns Ray's generator of one result for each item.
StartRange = Callable[[int, list[T]], Any]
# Takes in a result of a worker; None if the workers of its range died too often.
Receive = Callable[[T, Any, Stop], R]


@dataclass(eq=False)
class _Range(Generic[T]):
    """Items that one task works on, and the results that have come from it."""

    number: int
    items: list[T] = field(default_factory=list)
    results: Any = None
    received: int = 0
    is_lost: bool = False


class RangePool(Generic[T, R]):
    """A `Pool` whose workers are Ray tasks, each of which works on a range of items and yields a result for each.

    The number of ranges that are submitted is bounded; what else bounds them, and where they run, is Ray's matter.

    Args:
        start: begins a range.
        receive: takes in results, in this process.
        ranges: number of ranges that are submitted at a time.
    """

    def __init__(self, start: StartRange[T], receive: Receive[T, R], ranges: int) -> None:
        self._items = RANGE_ITEMS
        self.ahead = self._items * ranges
        self._start = start
        self._receive = receive
        self._stop = Stop()
        self._ranges = 0
        self._current: _Range[T] = _Range(0)
        self._running: dict[int, _Range[T]] = {}

    def submit(self, item: T, /) -> _RangeItem[T, R]:
        """See `Pool.submit`; a range begins when it is full, or when its first result is waited for."""
        self._current.items.append(item)
        pending = _RangeItem(self, self._current, item)
        if len(self._current.items) == self._items:
            self.begin(self._current)
        return pending

    def close(self) -> None:
        """See `Pool.close`."""
        self._stop.set()
        for running in self._running.values():
            ray.cancel(running.results, force=False)
        self._running.clear()

    def begin(self, part: _Range[T]) -> None:
        """Submit a range; the next item opens another one."""
        part.results = self._start(part.number, part.items)
        self._running[part.number] = part
        self._ranges += 1
        self._current = _Range(self._ranges)

    def take(self, part: _Range[T], item: T) -> R:
        """Return the next result of a range, which is that of an item."""
        if part.results is None:
            self.begin(part)
        result = None if part.is_lost else self._next(part)
        part.received += 1
        if part.received == len(part.items):
            self._running.pop(part.number, None)
        return self._receive(item, result, self._stop)

    @staticmethod
    def _next(part: _Range[T]) -> Any:
        try:
            return ray.get(next(part.results))
        except RayTaskError as error:
            raise cause_of(error) from error
        except RayError:
            part.is_lost = True
            return None


@dataclass(frozen=True)
class _RangeItem(Generic[T, R]):
    """The `Pending` of a `RangePool`; results are taken in the order of submission."""

    pool: RangePool[T, R]
    part: _Range[T]
    item: T

    def result(self) -> R:
        """See `Pending.result`."""
        return self.pool.take(self.part, self.item)
