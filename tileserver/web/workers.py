"""Threads that render, with a bounded line before them."""

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
    """Runs work in threads, refuses at once what would wait too long, and notices who has left.

    Args:
        threads: that work at the same time.
        waiting: pieces of work that may wait for a thread.
        deadline_s: longest time from the call to its answer.
    """

    def __init__(self, threads: int, waiting: int, deadline_s: float) -> None:
        self._executor = ThreadPoolExecutor(threads, "orthosharp-render")
        self._most = threads + waiting
        self._waiting = waiting
        self._deadline_s = deadline_s
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Pieces of work that run or wait."""
        return self._inside

    async def run(self, work: Callable[[Wanted], T], gone: Callable[[], Awaitable[object]]) -> T:
        """Result of `work`, which is told whether it is still waited for.

        What has not begun when nobody waits any more is never begun. What has begun goes on to its end, so
        that its result can be cached.

        Args:
            work: called in a thread.
            gone: returns when the visitor has left.

        Raises:
            OverloadedError: the line is full, or the deadline has passed.
            AbandonedError: the visitor has left.
        """
        left = threading.Event()
        future = self._submit(work, lambda: not left.is_set())
        answer = asyncio.wrap_future(future)
        leaving = asyncio.ensure_future(gone())
        try:
            both: set[asyncio.Future[Any]] = {answer, leaving}
            done, _ = await asyncio.wait(both, timeout=self._deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if answer in done:
                return answer.result()
            if leaving in done:
                raise AbandonedError("the visitor has left")
            raise OverloadedError(f"this was not ready within {self._deadline_s:g} s: try again", 5)
        finally:
            left.set()
            leaving.cancel()
            answer.cancel()

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, work: Callable[[Wanted], T], wanted: Wanted) -> Future[T]:
        with self._lock:
            if self._inside >= self._most:
                raise OverloadedError(f"{self._waiting} requests wait for a thread: try again in a moment")
            self._inside += 1
        future = self._executor.submit(work, wanted)
        # Called as well when the future is cancelled.
        future.add_done_callback(lambda _: self._leave())
        return future

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
