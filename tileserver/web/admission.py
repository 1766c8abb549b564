"""What a server can take on at a time: lanes of threads and limits, shared by all its maps and kept across reloads."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from tileserver.settings import Settings
from tileserver.web.lane import Lane

# Threads for old tiles in place of restored ones: apart from the lanes that are busy.
_FALLBACK_THREADS = 2
_FALLBACK_DEADLINE_S = 5.0
# Threads that ask a tile store before there is a place in the lane of the network.
_LOOKUP_THREADS = 8


@dataclass
class InFlight:
    """Number of requests being answered, and the limit."""

    limit: int
    count: int = 0


class Places:
    """Places for costly requests. Those beyond the limit wait for one in turn, as clients send several at a time.

    For the event loop's thread only.

    Args:
        limit: number of places.
        most_waiting: of requests that wait; further ones get none.
        max_wait_s: longest wait, in seconds.
    """

    def __init__(self, limit: int, most_waiting: int, max_wait_s: float) -> None:
        self.limit = limit
        self._most_waiting = most_waiting
        self._max_wait_s = max_wait_s
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> bool:
        """Return whether there is a place, which has to be left again."""
        if self._taken < self.limit:
            self._taken += 1
            return True
        if len(self._waiting) >= self._most_waiting:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, self._max_wait_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                # The place came at the same moment.
                self.leave()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give the place to the next that waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1


class Admission:
    """Lanes and limits of a server.

    Args:
        settings: settings of any of the maps; only those of the whole server are read.

    Attributes:
        requests: all requests being answered.
        pictures: of these, requests for images of any size, which may cost far more than a tile.
        restoring: lane of tiles that need the network.
        reading: lane of the old and the new layer, which need the photograph only.
        resampling: lane of restored tiles that do not need the network: from metatiles in memory, and from overviews.
        lookups: lane of look-ups in a tile store.
        fallback: lane of old tiles in place of restored ones; None to refuse instead.
    """

    def __init__(self, settings: Settings) -> None:
        self.requests = InFlight(settings.max_requests)
        # The other half of the time is for the picture itself.
        self.pictures = Places(settings.max_pictures, settings.queue_size, settings.deadline_s / 2)
        self._settings = settings
        self.restoring = self._lane("restore", settings.threads)
        self.reading = self._lane("old", max(2, settings.threads // 2))
        self.resampling = self._lane("resample", max(2, settings.threads // 2))
        self.lookups = self._lane("look", _LOOKUP_THREADS)
        self.fallback: Lane | None = None
        if settings.overload == "old":
            self.fallback = self._lane("fallback", _FALLBACK_THREADS, _FALLBACK_DEADLINE_S)

    def close(self) -> None:
        """Finish what runs, and stop the threads."""
        for lane in (self.restoring, self.reading, self.resampling, self.lookups, self.fallback):
            if lane is not None:
                lane.close()

    def _lane(self, name: str, threads: int, deadline_s: float = math.inf) -> Lane:
        settings = self._settings
        return Lane(
            name,
            threads,
            waiting=settings.queue_size,
            max_wait_s=settings.max_wait_s,
            deadline_s=min(deadline_s, settings.deadline_s),
        )
