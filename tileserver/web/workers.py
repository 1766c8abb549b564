"""Rendering threads with a bounded queue and a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tileserver.errors import AbandonedError, OverloadedError
from tileserver.stages import Wanted

T = TypeVar("T")


class Workers:
    """Runs calls in threads, refuses those beyond the queue's length, and drops those whose client disconnects.

    Args:
        threads: number of threads.
        waiting: calls that may wait for a thread.
        deadline_s: longest time from the call to its result, in seconds.

    Attributes:
        unfinished: number of calls that run or wait.
    """

    def __init__(self, threads: int, waiting: int, deadline_s: float) -> None:
        self._executor = ThreadPoolExecutor(threads, "orthosharp-render")
        self._capacity = threads + waiting
        self._waiting = waiting
        self._deadline_s = deadline_s
        self.unfinished = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[Wanted], T], disconnected: Callable[[], Awaitable[object]]) -> T:
        """Return the result of `work`, called in a thread.

        A call that still waits for a thread when the client disconnects, or the deadline passes, is dropped. One that
        runs is finished, so that its result can be cached.

        Args:
            work: is given a function that returns whether the client still waits.
            disconnected: returns when the client has disconnected.

        Raises:
            OverloadedError: the queue is full, or the deadline has passed.
            AbandonedError: the client has disconnected.
        """
        abandoned = threading.Event()
        future = self._submit(work, lambda: not abandoned.is_set())
        result = asyncio.wrap_future(future)
        disconnection = asyncio.ensure_future(disconnected())
        try:
            both: set[asyncio.Future[Any]] = {result, disconnection}
            done, _ = await asyncio.wait(both, timeout=self._deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if result in done:
                return result.result()
            if disconnection in done:
                raise AbandonedError("the client has disconnected")
            raise OverloadedError(f"the tile was not ready within {self._deadline_s:g} s: try again", 5)
        finally:
            abandoned.set()
            disconnection.cancel()
            result.cancel()

    def close(self) -> None:
        """Finish running calls, and drop those that wait."""
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, work: Callable[[Wanted], T], wanted: Wanted) -> Future[T]:
        with self._lock:
            if self.unfinished >= self._capacity:
                raise OverloadedError(
                    f"{self._waiting} requests are waiting for a thread: try again in a moment"
                )
            self.unfinished += 1
        future = self._executor.submit(work, wanted)
        # Also called when the future is cancelled.
        future.add_done_callback(lambda _: self._count_finished())
        return future

    def _count_finished(self) -> None:
        with self._lock:
            self.unfinished -= 1
