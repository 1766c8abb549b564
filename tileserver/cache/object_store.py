"""Tiles as files in a folder or objects in a bucket, through obstore."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore as Bucket

from tileserver.cache.store import object_path, seal, unseal
from tileserver.errors import StoreError
from tileserver.tiling.tile import TileKey

# Describes a content digest, for `orthosharp cache info` and for human readers.
ABOUT: Final = "about.json"
# Its key for the content digest without file times: hosts with copies of the same files write the same.
UNDATED: Final = "undated"
_MISSING: Final = (FileNotFoundError, NotFoundError)
_DELETED_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class StoredContent:
    """The stored tiles of one photograph, network and recipe.

    Attributes:
        content: content digest of the tiles.
        about: the description given to `describe`; empty if it is missing.
        tiles, nbytes: their number and total size.
    """

    content: str
    about: dict[str, str]
    tiles: int
    nbytes: int


class ObjectTiles:
    """A `TileStore` on a folder or bucket that obstore has opened; writes are atomic.

    Args:
        bucket: the folder or bucket.
        name: name for log messages.
    """

    writable = True

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket: Any = bucket
        self.name = name
        self._described: dict[str, dict[str, str]] = {}
        self._written: set[str] = set()
        self._lock = threading.Lock()

    def get(self, key: TileKey) -> bytes | None:
        """See `TileStore.get`."""
        try:
            found = obstore.get(self._bucket, object_path(key))
            data = bytes(found.bytes())
        except _MISSING:
            return None
        except (BaseError, OSError) as error:
            raise StoreError("the store cannot be read") from error
        return unseal(key, data)

    def put(self, key: TileKey, body: bytes) -> None:
        """See `TileStore.put`."""
        try:
            self._write_about(key.content)
            obstore.put(self._bucket, object_path(key), seal(key, body))
        except (BaseError, OSError) as error:
            raise StoreError("the store cannot be written") from error

    def close(self) -> None:
        """Do nothing: obstore has no connections to close."""

    def describe(self, content: str, about: dict[str, str]) -> None:
        """Describe a content digest; the description is written along with its first tile."""
        with self._lock:
            self._described[content] = about

    def forget_about(self, content: str) -> None:
        """Write the description of a content digest again with its next tile."""
        with self._lock:
            self._written.discard(content)

    def contents(self) -> list[StoredContent]:
        """Return all contents of the store, largest first; lists the whole store.

        Raises:
            StoreError: the store cannot be read.
        """
        sums: dict[str, tuple[int, int]] = {}
        for path, size in self._listing():
            content = path.split("/")[0]
            tiles, nbytes = sums.get(content, (0, 0))
            sums[content] = (tiles + (not path.endswith(ABOUT)), nbytes + size)
        found = [StoredContent(name, self._read_about(name), *total) for name, total in sums.items()]
        return sorted(found, key=lambda content: -content.nbytes)

    def remove(self, content: str) -> None:
        """Delete all tiles of a content digest.

        Raises:
            StoreError: the store cannot be written.
        """
        waiting: list[str] = []
        for path, _ in self._listing(content):
            waiting.append(path)
            if len(waiting) == _DELETED_AT_ONCE:
                self._delete(waiting)
                waiting = []
        self._delete(waiting)

    def _delete(self, paths: list[str]) -> None:
        try:
            if paths:
                obstore.delete(self._bucket, paths)
        except _MISSING:
            return  # already deleted by another process
        except (BaseError, OSError) as error:
            raise StoreError("the store cannot be written: check its permissions") from error

    def _listing(self, content: str | None = None) -> Iterator[tuple[str, int]]:
        """Yield path and size of each of our files; other files are skipped."""
        try:
            for batch in obstore.list(self._bucket, prefix=content):
                for entry in batch:
                    path = str(entry["path"])
                    if is_content(path.split("/")[0]):
                        yield path, int(entry["size"])
        except (BaseError, OSError) as error:
            raise StoreError("the store cannot be listed: check its address and permissions") from error

    def _write_about(self, content: str) -> None:
        with self._lock:
            about = self._described.get(content)
            if about is None or content in self._written:
                return
            self._written.add(content)
        try:
            obstore.put(self._bucket, f"{content}/{ABOUT}", json.dumps(about, indent=1).encode())
        except BaseException:
            self._written.discard(content)
            raise

    def _read_about(self, content: str) -> dict[str, str]:
        try:
            document = json.loads(bytes(obstore.get(self._bucket, f"{content}/{ABOUT}").bytes()))
        except (BaseError, OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def is_content(name: str) -> bool:
    """Return whether the name of a folder is a content digest."""
    return len(name) == 64 and not set(name) - set("0123456789abcdef")
