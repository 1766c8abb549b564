"""Notice that a photograph's files were replaced, without looking at each file of a large mosaic for every read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tileserver.photo.fingerprint import FileState, file_states

# So many files are looked at for every read, which takes microseconds each; more, at most once in this time.
MANY_FILES: Final = 16
LOOK_S: Final = 1.0


class FileWatch:
    """Compares files with their state when they were opened. Thread-safe, and takes no lock: a disk may hang.

    Args:
        files: paths.
        states: their states when they were opened.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        files: tuple[str, ...],
        states: tuple[FileState, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._states = states
        self._clock = clock
        # When the last look began, and what it found.
        self._last: tuple[float, bool] = (float("-inf"), False)

    @property
    def is_changed(self) -> bool:
        """Whether a file was replaced, modified or removed; of many files, as it was up to LOOK_S ago."""
        now = self._clock()
        looked, found = self._last
        if len(self._files) > MANY_FILES and now - looked < LOOK_S:
            return found
        if len(self._files) > MANY_FILES:
            # Other threads need not look at the same time; they take what was found before.
            self._last = (now, found)
        found = file_states(self._files) != self._states
        self._last = (now, found)
        return found
