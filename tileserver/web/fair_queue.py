"""The rule of a lane's queue: no longer than can be answered in time, fair between visitors, newest first for each.

A visitor pans on: the newest request is for what is on the screen, and older ones may have been given up. A visitor who
asks for ten times as much as can be made does not take the turns of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

# The estimate is the mean of so many intervals: more than a GPU finishes at the same moment.
_INTERVALS: Final = 16


@dataclass(eq=False)
class Call:
    """A piece of work of one request.

    Attributes:
        work: makes the result.
        visitor: who asks, such as an address.
        group: calls of the same group share a costly part, such as a metatile; None if the call shares nothing.
        abandoned: whether the client has disconnected, or was answered otherwise.
        future: receives the result.
    """

    work: Callable[[], Any]
    visitor: str = ""
    group: Hashable = None
    abandoned: bool = False
    future: Future[Any] = field(default_factory=Future)

    @property
    def costs(self) -> Hashable:
        """What its costly part is known by: the group, or the call itself."""
        return self if self.group is None else self.group


class FairQueue:
    """Calls that wait for a thread, and the groups of those that run. Not thread-safe.

    Of a group, one call runs; the others follow at once when it has succeeded, because what they share is then cached.

    Args:
        max_waiting: number of calls that may wait.
        max_wait_s: longest time in which the last of them may expect an answer, in seconds. One group may always wait.

    Attributes:
        seconds_each: measured seconds between the ends of costly calls while any runs; 0 until one has ended.
    """

    def __init__(self, max_waiting: int, max_wait_s: float) -> None:
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        # By visitor, the next to be served first; of each visitor, the oldest call first.
        self._waiting: dict[str, list[Call]] = {}
        self._ready: deque[Call] = deque()
        # The first call of each group that runs, or the call itself.
        self._running: dict[Hashable, Call] = {}
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self.seconds_each = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._ready)

    @property
    def wait_s(self) -> float:
        """Seconds in which the last of the calls may expect an answer."""
        costs = {call.costs for call in self._calls()} | self._running.keys()
        return len(costs) * self.seconds_each

    def push(self, call: Call) -> list[Call]:
        """Let a call wait; return the calls, perhaps this one, that there is no time for any more."""
        self._waiting.setdefault(call.visitor, []).append(call)
        displaced: list[Call] = []
        while self._is_too_long():
            # The visitor who asks for most loses the oldest call; of several, the one whose turn is last.
            longest = max(reversed(self._waiting.values()), key=len)
            displaced.append(longest[0])
            self.remove(longest[0])
        return displaced

    def pop(self) -> Call | None:
        """Take the next call to run, or return None if all wait for others of their groups."""
        if self._ready:
            return self._ready.popleft()
        for visitor, calls in self._waiting.items():
            for call in reversed(calls):
                if call.costs not in self._running:
                    self.remove(call)
                    if calls:  # behind all other visitors
                        self._waiting[visitor] = self._waiting.pop(visitor)
                    self._running[call.costs] = call
                    return call
        return None

    def remove(self, call: Call) -> None:
        """Forget a call that waits; do nothing if it does not."""
        if call in self._ready:
            self._ready.remove(call)
        calls = self._waiting.get(call.visitor, [])
        if call in calls:
            calls.remove(call)
            if not calls:
                del self._waiting[call.visitor]

    def is_first(self, call: Call) -> bool:
        """Return whether a call that runs is the first of its group, and so measures what a group costs."""
        return self._running.get(call.costs) is call

    def finish(self, call: Call, *, interval_s: float | None = None, dropped: bool = False) -> None:
        """Note that the first call of a group has ended; the others follow, unless it was dropped.

        Args:
            call: a call that `is_first`.
            interval_s: seconds since the end of the one before, if it succeeded.
            dropped: whether it ended early because no client waited: a call that has come since begins anew.
        """
        del self._running[call.costs]
        if interval_s is not None:
            self._intervals.append(interval_s)
            self.seconds_each = fmean(self._intervals)
        if not dropped:
            followers = [other for other in self._calls() if other.costs == call.costs]
            for follower in followers:
                self.remove(follower)
            self._ready.extend(followers)

    def is_shared(self, call: Call) -> bool:
        """Return whether another call of its group waits."""
        return any(other.costs == call.costs and not other.abandoned for other in self._calls())

    def is_underway(self, call: Call) -> bool:
        """Return whether what a call costs is being made, or has been."""
        return call in self._ready or call.costs in self._running

    def clear(self) -> list[Call]:
        """Forget all calls that wait, and return them."""
        calls = [*self._ready, *self._calls()]
        self._ready.clear()
        self._waiting.clear()
        return calls

    def _calls(self) -> Iterator[Call]:
        return (call for calls in self._waiting.values() for call in calls)

    def _is_too_long(self) -> bool:
        waiting = list(self._calls())
        if len(waiting) > self._max_waiting:
            return True
        return (
            len({call.costs for call in waiting} - self._running.keys()) > 1
            and self.wait_s > self._max_wait_s
        )
