"""Openings of the maps that take over next, whose storage may hang."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from tileserver.errors import StartError
from tileserver.web.patience import PatientCall

T = TypeVar("T")

# The deadline of an opening.
OPENING_S: Final = 300.0
# Openings that may hang at a time, each with a thread of its own.
_MOST_HANGING: Final = 3


@dataclass(eq=False)
class _Opening:
    """One opening; `is_late` once its deadline has passed."""

    is_late: bool = False


class Openings(Generic[T]):
    """Opens maps in threads that the end of the process does not wait for.

    One that passes its deadline goes on: what it opens takes over, unless another opening has begun by then.

    Args:
        load: opens maps.
        discard: closes maps that are not wanted any more.
        take_late: called by the event loop when maps that came late can be taken.
    """

    def __init__(
        self, load: Callable[[], T], discard: Callable[[T], None], take_late: Callable[[], object]
    ) -> None:
        self._load = load
        self._discard = discard
        self._take_late = take_late
        self._lock = threading.Lock()
        self._running: set[_Opening] = set()
        self._newest: _Opening | None = None
        self._opened: T | None = None
        self._is_ended = False

    @property
    def is_late(self) -> bool:
        """Whether the newest opening has passed its deadline, and still runs."""
        with self._lock:
            return self._newest in self._running and self._newest is not None and self._newest.is_late

    @property
    def has_opened(self) -> bool:
        """Whether there are maps to take."""
        return self._opened is not None

    async def open(self) -> T | None:
        """Open maps. What an earlier opening still opens is closed again.

        Returns:
            The maps; None if `end` was called meanwhile.

        Raises:
            StartError: they are not open within OPENING_S, or too many earlier openings hang.
            As `load`.
        """
        opening = _Opening()
        with self._lock:
            if len(self._running) >= _MOST_HANGING:
                raise StartError(
                    f"{_MOST_HANGING} earlier openings still wait for their storage: mend that, or restart the server"
                )
            self._running.add(opening)
            self._newest = opening
            unwanted, self._opened = self._opened, None
        if unwanted is not None:
            self._discard(unwanted)
        loop = asyncio.get_running_loop()
        running = asyncio.wrap_future(PatientCall(lambda: self._open(opening, loop)).begin())
        try:
            if not (await asyncio.wait({running}, timeout=OPENING_S))[0] and self._mark_late(opening):
                raise StartError(
                    f"the maps were not open within {OPENING_S:g} s; they take over if they open after all. "
                    "Does the storage respond?"
                )
            await running
        finally:
            running.cancel()
        return self.take()

    def take(self) -> T | None:
        """Return the maps that were opened last and not taken yet, if any."""
        with self._lock:
            opened, self._opened = self._opened, None
            return opened

    def end(self) -> None:
        """Let whatever is opened from now on be closed at once."""
        with self._lock:
            self._is_ended = True

    def _mark_late(self, opening: _Opening) -> bool:
        """Note that a deadline has passed; return whether it has, as the opening may have ended just now."""
        with self._lock:
            opening.is_late = opening in self._running
            return opening.is_late

    def _open(self, opening: _Opening, loop: asyncio.AbstractEventLoop) -> None:
        """Open maps, in a thread."""
        try:
            opened = self._load()
        except BaseException:
            with self._lock:
                self._running.discard(opening)
            raise
        with self._lock:
            self._running.discard(opening)
            is_wanted = opening is self._newest and not self._is_ended
            if is_wanted:
                self._opened = opened
        if not is_wanted:
            self._discard(opened)
        elif opening.is_late:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._take_late)
