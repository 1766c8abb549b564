"""Single flight: concurrent calls for the same key share one computation, as long as one of them still waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tileserver.errors import AbandonedError, OverloadedError
from tileserver.stages import POLL_S, Wanted, always

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class _Flight(Generic[V]):
    waiters: list[Wanted]
    result: Future[V] = field(default_factory=Future)

    def wanted(self) -> bool:
        """Return whether any of the callers still waits."""
        return any(waits() for waits in tuple(self.waiters))


class SingleFlight(Generic[K, V]):
    """The first caller computes; callers that arrive meanwhile get its result or its error. Nothing is cached.

    Args:
        deadline_s: longest wait for the result of another caller, in seconds.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._flights: dict[K, _Flight[V]] = {}
        self._lock = threading.Lock()

    def do(self, key: K, compute: Callable[[Wanted], V], wanted: Wanted = always) -> V:
        """Return the result of `compute`, called by this or by a concurrent caller.

        Args:
            key: identifies the computation.
            compute: is given a function that returns whether any caller still waits; may raise AbandonedError
                once none does.
            wanted: returns whether this caller still waits.

        Raises:
            AbandonedError: this caller does not wait any more.
            OverloadedError: another caller computes, and the deadline has passed.
        """
        while True:
            try:
                return self._join_or_compute(key, compute, wanted)
            except AbandonedError:
                # Abandoned by the earlier callers just as this one joined: start over.
                if not wanted():
                    raise

    def _join_or_compute(self, key: K, compute: Callable[[Wanted], V], wanted: Wanted) -> V:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                flight.waiters.append(wanted)
            else:
                own = self._flights[key] = _Flight([wanted])
        if flight is not None:
            return self._wait(flight, wanted)
        try:
            result = compute(own.wanted)
        except BaseException as error:
            self._remove(key)
            own.result.set_exception(error)
            raise
        self._remove(key)
        own.result.set_result(result)
        return result

    def _wait(self, flight: _Flight[V], wanted: Wanted) -> V:
        deadline = time.monotonic() + self._deadline_s
        while True:
            left_s = deadline - time.monotonic()
            try:
                return flight.result.result(timeout=min(POLL_S, max(left_s, 0)))
            except FutureTimeoutError:
                if flight.result.done():
                    return flight.result.result()
                if not wanted():
                    raise AbandonedError("the client has disconnected") from None
                if left_s <= 0:
                    raise OverloadedError(
                        f"another request for the same was not answered within {self._deadline_s:g} s: try again",
                        5,
                    ) from None

    def _remove(self, key: K) -> None:
        with self._lock:
            del self._flights[key]
