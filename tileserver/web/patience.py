"""Calls that may hang, such as those to a network disk, on behalf of an event loop that must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class PatientCall(Generic[T]):
    """Calls a function in a daemon thread. While a call hangs no other is made, however many ask.

    Args:
        call: the function.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._running: Future[T] | None = None
        self._lock = threading.Lock()

    async def result(self, timeout_s: float | None) -> T:
        """Return the result of a call that begins now, or of the one that still runs.

        Args:
            timeout_s: longest wait in seconds; None for as long as it takes.

        Raises:
            TimeoutError: it does not return in time.
        """
        return await asyncio.wait_for(asyncio.wrap_future(self.begin()), timeout_s)

    def begin(self) -> Future[T]:
        """Return the future of a call that begins now, or of the one that still runs; it cannot be cancelled."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                # Cancelled, it would take no result: another request may wait for the same call.
                self._running.set_running_or_notify_cancel()
                threading.Thread(
                    target=self._run, args=(self._running,), name="orthosharp-patience", daemon=True
                ).start()
            return self._running

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller, by the future
            future.set_exception(error)
