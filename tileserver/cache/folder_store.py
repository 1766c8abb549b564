"""A folder of tiles with an optional limit in bytes: the least recently used tiles are deleted."""

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

# A file's modification time is the time of its last use, to this accuracy.
_TOUCH_S: Final = 3600
# Eviction stops at this share of the limit, so that it is not needed again at once.
_LOW_WATER: Final = 0.9
# The folder is measured again after this share of the limit was written: other processes may write to it as well.
_RECOUNT: Final = 1 / 16
# Eviction sorts files by age into this many classes.
_AGES: Final = 1024


class FolderTiles(ObjectTiles):
    """A tile store in a folder, which may be on a network file system and shared between processes.

    Args:
        path: the folder; created if it is missing.
        max_bytes: limit of disk usage; None for no limit.

    Raises:
        StoreError: the folder cannot be created.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        try:
            bucket = LocalStore(path, mkdir=True)
        except Exception as error:  # obstore's exceptions for this have no common base
            raise StoreError(f"{path} cannot be used as a folder: name another with --store") from error
        super().__init__(bucket, "the folder of tiles")
        self._path = path.resolve()
        self._max_bytes = max_bytes
        self._written_bytes: float = float("inf")  # so that the first write measures the folder
        self._sweeping = threading.Lock()

    def get(self, key: TileKey) -> bytes | None:
        """See `TileStore.get`."""
        body = super().get(key)
        if body is not None and self._max_bytes is not None:
            self._touch(self._path / object_path(key))
        return body

    def put(self, key: TileKey, body: bytes) -> None:
        """See `TileStore.put`; deletes old tiles if the limit is exceeded."""
        if not (self._path / key.content / ABOUT).exists():
            self.forget_about(key.content)  # removed with the last tile, perhaps by another process
        super().put(key, body)
        if self._max_bytes is None:
            return
        with suppress(OSError):  # just evicted by another process
            # Disk usage, not length: the smallest tiles are a twentieth of a disk block.
            self._written_bytes += _disk_bytes((self._path / object_path(key)).stat())
        if self._written_bytes > _RECOUNT * self._max_bytes and self._sweeping.acquire(blocking=False):
            try:
                self._written_bytes = 0
                self._sweep(self._max_bytes)
            finally:
                self._sweeping.release()

    def remove(self, content: str) -> None:
        """See `ObjectTiles.remove`; removes the folders as well."""
        super().remove(content)
        self._remove_empty(self._path / content)

    def _remove_empty(self, content: Path) -> None:
        """Remove the folders of a content digest that hold no tile any more: inodes are limited as well.

        Other processes may write meanwhile: a folder that is not empty stays, and obstore makes missing ones.
        """
        for folder, _, names in os.walk(content, topdown=False):
            if not set(names) - {ABOUT}:
                with suppress(OSError):
                    Path(folder).rmdir()
        with suppress(OSError):
            if [path.name for path in content.iterdir()] == [ABOUT]:
                (content / ABOUT).unlink()
                content.rmdir()

    def _sweep(self, max_bytes: int) -> None:
        """Delete the least recently used files until the rest fits.

        The folder is listed three times and only sums are kept, so that memory does not grow with it.
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
            # Files may have been added, with any time, or deleted by other processes since the first pass.
            sums[max(0, min(int((found.st_mtime - oldest) / width), _AGES))] += _disk_bytes(found)
        excess = sum(sums) - round(_LOW_WATER * max_bytes)
        if excess <= 0:
            return
        last = next(age for age, through in enumerate(accumulate(sums)) if through >= excess)
        for path, found in self._files():
            if excess > 0 and found.st_mtime < oldest + (last + 1) * width:
                with suppress(OSError):  # already deleted by another process
                    path.unlink()
                    excess -= _disk_bytes(found)
        for content in self._contents():
            self._remove_empty(content)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield all tiles with their status; other files in the folder are skipped."""
        for content in self._contents():
            for folder, _, names in os.walk(content):
                for name in set(names) - {ABOUT}:
                    path = Path(folder, name)
                    with suppress(OSError):
                        yield path, path.stat()

    def _contents(self) -> list[Path]:
        return [path for path in self._path.iterdir() if is_content(path.name)]

    @staticmethod
    def _touch(path: Path) -> None:
        with suppress(OSError):  # read-only, or just evicted
            if time.time() - path.stat().st_mtime > _TOUCH_S:
                os.utime(path)


def _disk_bytes(found: os.stat_result) -> int:
    return found.st_blocks * 512
