"""What a server can take on at a time: lanes of threads and limits, shared by all its maps and kept across reloads."""

from __future__ import annotations

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


class Admission:
    """Lanes and limits of a server.

    Args:
        settings: settings of any of the maps; only those of the whole server are read.

    Attributes:
        requests: all requests being answered.
        pictures: of these, requests for images of any size, which cost far more than a tile.
        restoring: lane of tiles that need the network.
        reading: lane of tiles that need the photograph only, such as those of the old layer.
        lookups: lane of look-ups in a tile store.
        fallback: lane of old tiles in place of restored ones; None to refuse instead.
    """

    def __init__(self, settings: Settings) -> None:
        self.requests = InFlight(settings.max_requests)
        self.pictures = InFlight(settings.max_pictures)
        limits = {"max_wait_s": settings.max_wait_s, "waiting": settings.queue_size}
        self.restoring = Lane("restore", settings.threads, deadline_s=settings.deadline_s, **limits)
        self.reading = Lane("old", max(2, settings.threads // 2), deadline_s=settings.deadline_s, **limits)
        self.lookups = Lane("look", _LOOKUP_THREADS, deadline_s=settings.deadline_s, **limits)
        self.fallback: Lane | None = None
        if settings.overload == "old":
            deadline_s = min(_FALLBACK_DEADLINE_S, settings.deadline_s)
            self.fallback = Lane("fallback", _FALLBACK_THREADS, deadline_s=deadline_s, **limits)

    def close(self) -> None:
        """Finish what runs, and stop the threads."""
        for lane in (self.restoring, self.reading, self.lookups, self.fallback):
            if lane is not None:
                lane.close()
