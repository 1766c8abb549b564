"""A circuit breaker: what fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Circuit:
    """Counts failures in a row. Its clock never goes back, whatever the machine's does.

    Args:
        failures: in a row that open it.
        rest_s: how long it stays open before one call may try.
        clock: seconds.
    """

    def __init__(
        self, failures: int = 3, rest_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._rest_s = rest_s
        self._clock = clock
        self._row = 0
        self._opened: float | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are kept away."""
        return self._opened is not None

    def allows(self) -> bool:
        """Whether to call; while it is open, one call after each rest."""
        with self._lock:
            if self._opened is None:
                return True
            if self._clock() - self._opened < self._rest_s:
                return False
            self._opened = self._clock()
            return True

    def succeeded(self) -> bool:
        """Count a success; True if it closed the circuit."""
        with self._lock:
            was_open = self._opened is not None
            self._row, self._opened = 0, None
            return was_open

    def failed(self) -> bool:
        """Count a failure; True if it opened the circuit."""
        with self._lock:
            self._row += 1
            if self._opened is not None or self._row < self._failures:
                return False
            self._opened = self._clock()
            return True
