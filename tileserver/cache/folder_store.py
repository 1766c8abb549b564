"""A folder of tiles with a bound in bytes: those that were not asked for longest make room."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final

from obstore.store import LocalStore

from tileserver.cache.object_store import ABOUT, ObjectTiles, is_content
from tileserver.cache.store import object_path
from tileserver.errors import StoreError
from tileserver.tiling.tile import TileKey

# A file's date is when it was last asked for, to within this.
_TOUCH_S: Final = 3600
# Evicting down to this much of the bound makes room for a while.
_LOW_WATER: Final = 0.9
# Counted again after so much of the bound was written, since other processes write as well.
_RECOUNT: Final = 1 / 16
# Steps between the oldest and the newest file that eviction tells apart.
_AGES: Final = 1024


class FolderTiles(ObjectTiles):
    """A folder, which may lie on a network disk and be shared between processes.

    Args:
        path: the folder; made if it is missing.
        max_bytes: bound of what is kept on disk; None for none.

    Raises:
        StoreError: it is no folder and cannot be made.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        try:
            bucket = LocalStore(path, mkdir=True)
        except Exception as error:  # obstore's exceptions for this have no common root
            raise StoreError(f"{path} is no folder that can be used: name another with --store") from error
        super().__init__(bucket, "the folder of tiles")
        self._path = path.resolve()
        self._max_bytes = max_bytes
        self._written_bytes: float = float("inf")  # unknown: counted at the first write
        self._sweeping = threading.Lock()

    def get(self, key: TileKey) -> bytes | None:
        """See `TileStore.get`."""
        body = super().get(key)
        if body is not None and self._max_bytes is not None:
            self._touch(self._path / object_path(key))
        return body

    def put(self, key: TileKey, body: bytes) -> None:
        """See `TileStore.put`; evicts where that is due."""
        super().put(key, body)
        if self._max_bytes is None:
            return
        with suppress(OSError):  # evicted just now
            # What it takes there: the smallest tiles have a twentieth of a block of the disk.
            self._written_bytes += _disk_bytes((self._path / object_path(key)).stat())
        if self._written_bytes > _RECOUNT * self._max_bytes and self._sweeping.acquire(blocking=False):
            try:
                self._written_bytes = 0
                self._sweep(self._max_bytes)
            finally:
                self._sweeping.release()

    def _sweep(self, max_bytes: int) -> None:
        """Delete the oldest files, by their date, until the rest is small enough.

        Passes over the folder with sums in between, so that the memory needed does not grow with it.
        """
        total, oldest, newest = 0, float("inf"), 0.0
        for _, found in self._files():
            total += _disk_bytes(found)
            oldest, newest = min(oldest, found.st_mtime), max(newest, found.st_mtime)
        if total <= max_bytes:
            return
        width = max(newest - oldest, 1e-6) / _AGES
        sums = [0] * (_AGES + 1)
        for _, found in self._files():
            # Between the passes files come, of any date, and other processes take some away.
            sums[max(0, min(int((found.st_mtime - oldest) / width), _AGES))] += _disk_bytes(found)
        excess = sum(sums) - round(_LOW_WATER * max_bytes)
        if excess <= 0:
            return
        last = next(age for age, through in enumerate(accumulate(sums)) if through >= excess)
        for path, found in self._files():
            if excess > 0 and found.st_mtime < oldest + (last + 1) * width:
                with suppress(OSError):  # another process was faster
                    path.unlink()
                    excess -= _disk_bytes(found)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """All tiles and what is known of them; anything else in the folder is left alone."""
        for content in self._path.iterdir():
            if is_content(content.name):
                for folder, _, names in os.walk(content):
                    for name in set(names) - {ABOUT}:
                        path = Path(folder, name)
                        with suppress(OSError):
                            yield path, path.stat()

    @staticmethod
    def _touch(path: Path) -> None:
        with suppress(OSError):  # read-only, or evicted just now
            if time.time() - path.stat().st_mtime > _TOUCH_S:
                os.utime(path)


def _disk_bytes(found: os.stat_result) -> int:
    return found.st_blocks * 512
