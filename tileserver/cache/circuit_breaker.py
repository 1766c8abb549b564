"""A circuit breaker: stops calls to a service that keeps failing, and lets a single call try again after a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after several failures in a row, and closes after a success. Thread-safe.

    Args:
        failures: number of failures in a row that open the circuit.
        pause_s: how long it stays open before one call may try again, in seconds.
        clock: returns the time in seconds; must never go back.
    """

    def __init__(
        self, failures: int = 3, pause_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failed_in_a_row = 0
        self._opened_at: float | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are stopped."""
        return self._opened_at is not None

    def allows(self) -> bool:
        """Return whether to make a call; while the circuit is open, true once after each pause."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._clock() - self._opened_at < self._pause_s:
                return False
            self._opened_at = self._clock()
            return True

    def succeeded(self) -> bool:
        """Record a success; returns whether it closed the circuit."""
        with self._lock:
            was_open = self._opened_at is not None
            self._failed_in_a_row, self._opened_at = 0, None
            return was_open

    def failed(self) -> bool:
        """Record a failure; returns whether it opened the circuit."""
        with self._lock:
            self._failed_in_a_row += 1
            if self._opened_at is not None or self._failed_in_a_row < self._failures:
                return False
            self._opened_at = self._clock()
            return True
