"""Concurrent calls for the same key share one computation, for as long as one of them still waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tileserver.errors import AbandonedError
from tileserver.stages import Wanted, always

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class _Flight(Generic[V]):
    waiters: list[Wanted]
    result: Future[V] = field(default_factory=Future)

    def wanted(self) -> bool:
        """Whether anybody on board still waits."""
        return any(waits() for waits in tuple(self.waiters))


class SingleFlight(Generic[K, V]):
    """The first caller computes, the others wait for its result or its error. Nothing is kept afterwards."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}
        self._lock = threading.Lock()

    def do(self, key: K, compute: Callable[[Wanted], V], wanted: Wanted = always) -> V:
        """Result of `compute`, from this caller or from the one that was faster.

        Args:
            key: what is computed.
            compute: gets a function that tells whether any caller still waits; it may raise AbandonedError
                once none does.
            wanted: whether this caller still waits.

        Raises:
            AbandonedError: nobody waited any more, this caller neither.
        """
        while True:
            try:
                return self._board(key, compute, wanted)
            except AbandonedError:
                # Given up for the others' sake, just as this caller came: then it starts over.
                if not wanted():
                    raise

    def _board(self, key: K, compute: Callable[[Wanted], V], wanted: Wanted) -> V:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                flight.waiters.append(wanted)
            else:
                own = self._flights[key] = _Flight([wanted])
        if flight is not None:
            return flight.result.result()
        try:
            result = compute(own.wanted)
        except BaseException as error:
            self._land(key)
            own.result.set_exception(error)
            raise
        self._land(key)
        own.result.set_result(result)
        return result

    def _land(self, key: K) -> None:
        with self._lock:
            del self._flights[key]
