"""Threads that render, with a queue that is bounded in time, and deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from tileserver.errors import AbandonedError, OverloadedError
from tileserver.stages import Wanted
from tileserver.web.fair_queue import Call, FairQueue

T = TypeVar("T")
_MAX_RETRY_S: Final = 60


class Lane:
    """Runs calls in threads of its own; refuses those that there is no time for, by the rule of `FairQueue`.

    Args:
        name: name for the threads.
        threads: number of threads.
        waiting: calls that may wait for a thread.
        max_wait_s: longest time that a call may expect to wait, in seconds.
        deadline_s: longest time from the call to its result, in seconds.
    """

    def __init__(
        self, name: str, threads: int, *, waiting: int, max_wait_s: float, deadline_s: float
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, f"orthosharp-{name}")
        self._max_wait_s = min(max_wait_s, deadline_s)
        self._deadline_s = deadline_s
        self._queue = FairQueue(waiting, self._max_wait_s)
        self._lock = threading.Lock()
        self._running = 0
        self._last_end = 0.0
        # Threads that found nothing to do, because all calls waited for others of their groups.
        self._idle_turns = 0

    @property
    def unfinished(self) -> int:
        """Number of calls that run or wait."""
        with self._lock:
            return self._running + len(self._queue)

    @property
    def wait_s(self) -> float:
        """Seconds in which the last of the calls may expect an answer."""
        with self._lock:
            return self._queue.wait_s

    async def run(
        self,
        work: Callable[[Wanted], T],
        disconnected: Callable[[], Awaitable[object]],
        *,
        visitor: str = "",
        group: Hashable = None,
    ) -> T:
        """Return the result of `work`, called in a thread.

        A call that still waits for a thread when the client disconnects, or when there is no time for it any more, is
        dropped. One that runs is finished, so that its result can be cached.

        Args:
            work: is given a function that returns whether any client still waits.
            disconnected: returns when the client has disconnected.
            visitor: who asks; turns are shared among visitors.
            group: what the call shares with others, such as a metatile; one call of a group runs, the others follow.

        Raises:
            OverloadedError: there is no time for the call, or the deadline has passed.
            AbandonedError: the client has disconnected.
        """
        # The thread logs with the request's id.
        context = contextvars.copy_context()
        call = Call(lambda: context.run(work, lambda: self._is_wanted(call)), visitor, group)
        self._submit(call)
        result: asyncio.Future[T] = asyncio.wrap_future(call.future)
        disconnection = asyncio.ensure_future(disconnected())
        try:
            both: set[asyncio.Future[Any]] = {result, disconnection}
            for wait_s in (self._max_wait_s, self._deadline_s - self._max_wait_s):
                done, _ = await asyncio.wait(both, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if result in done:
                    return result.result()
                if disconnection in done:
                    raise AbandonedError("the client has disconnected")
                if self._only_waits(call):
                    raise self._no_time()
            raise OverloadedError(f"the tile was not ready within {self._deadline_s:g} s: try again", 5)
        finally:
            self._abandon(call)
            disconnection.cancel()
            result.cancel()

    def close(self) -> None:
        """Finish running calls, and drop those that wait."""
        with self._lock:
            waiting = self._queue.clear()
        for call in waiting:
            _refuse(call, OverloadedError("the server is shutting down: try again in a moment"))
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, call: Call) -> None:
        with self._lock:
            displaced = self._queue.push(call)
        for other in displaced:
            _refuse(other, self._no_time())
        if call not in displaced:
            self._executor.submit(self._run_next)

    def _run_next(self) -> None:
        with self._lock:
            call = self._queue.pop()
            if call is None:
                self._idle_turns += 1
                return
            if not self._running:
                self._last_end = time.monotonic()
            self._running += 1
        error: BaseException | None = None
        if call.future.set_running_or_notify_cancel():
            try:
                result = call.work()
            except BaseException as failure:  # noqa: BLE001 - raised in the caller, by the future
                error = failure
            self._finish(call, error)
            if error is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(error)
        else:
            self._finish(call, AbandonedError("the client has disconnected"))

    def _finish(self, call: Call, error: BaseException | None) -> None:
        with self._lock:
            self._running -= 1
            now = time.monotonic()
            if self._queue.is_first(call):
                interval_s = now - self._last_end if error is None else None
                self._queue.finish(call, interval_s=interval_s, dropped=isinstance(error, AbandonedError))
                if error is None:
                    self._last_end = now
            turns, self._idle_turns = min(self._idle_turns, len(self._queue)), 0
        # Suppressed: the lane was closed meanwhile, and the calls were refused.
        with contextlib.suppress(RuntimeError):
            for _ in range(turns):
                self._executor.submit(self._run_next)

    def _is_wanted(self, call: Call) -> bool:
        if not call.abandoned:
            return True
        with self._lock:
            return self._queue.is_shared(call)

    def _only_waits(self, call: Call) -> bool:
        with self._lock:
            return not (call.future.running() or call.future.done() or self._queue.is_underway(call))

    def _abandon(self, call: Call) -> None:
        with self._lock:
            call.abandoned = True
            self._queue.remove(call)

    def _no_time(self) -> OverloadedError:
        # A place is free long before the queue is empty: those who waited for that would leave the network idle.
        return OverloadedError(
            f"more is requested than can be made within {self._max_wait_s:g} s: try again in a moment",
            min(max(math.ceil(self.wait_s / 4), 2), _MAX_RETRY_S),
        )


def _refuse(call: Call, error: OverloadedError) -> None:
    if call.future.set_running_or_notify_cancel():
        call.future.set_exception(error)
