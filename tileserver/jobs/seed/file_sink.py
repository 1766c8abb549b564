"""Files of a folder or objects of a bucket, as a set of tiles needs them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import obstore
from obstore.store import ObjectStore

from sr_model.atomic import write_atomic
from tileserver.jobs.disk import link_atomic, sync

# A file takes a block of the disk, however small it is: what is smaller may share one.
_SHARED_BYTES: Final = 4096
_MOST_SHARED: Final = 256


class Files(Protocol):
    """Named bytes; safe to use from many threads. Methods raise OSError or obstore's BaseError."""

    def put(self, files: Iterable[tuple[str, bytes, str]]) -> None:
        """Write files, given as name, bytes and media type; each is there as a whole or not at all."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None where there is none."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, whether or not they are there."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Names and sizes of all files."""


class BucketFiles:
    """Objects of a bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, files: Iterable[tuple[str, bytes, str]]) -> None:
        """See `Files`."""
        for name, body, media_type in files:
            obstore.put(self._store, name, body, attributes={"Content-Type": media_type})

    def read(self, name: str) -> bytes | None:
        """See `Files`."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def remove(self, names: Iterable[str]) -> None:
        """See `Files`."""
        for name in names:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, name)

    def listing(self) -> Iterator[tuple[str, int]]:
        """See `Files`."""
        for batch in obstore.list(self._store):
            yield from ((item["path"], item["size"]) for item in batch)


class FolderFiles:
    """Files below a folder, which is made when the first one comes.

    Small ones of equal bytes are one file with several names (hard links), where the disk knows such.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: dict[bytes, Path] = {}
        self._lock = threading.Lock()

    def put(self, files: Iterable[tuple[str, bytes, str]]) -> None:
        """See `Files`; they outlast a power cut when this returns."""
        parents = set()
        for name, body, _ in files:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(body) > _SHARED_BYTES:
                write_atomic(path, body)
            else:
                with self._lock:
                    self._put_small(path, body)
            parents.add(path.parent)
        for parent in parents:
            sync(parent)

    def read(self, name: str) -> bytes | None:
        """See `Files`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, names: Iterable[str]) -> None:
        """See `Files`; folders that become empty go too."""
        for name in names:
            path = self._folder / name
            path.unlink(missing_ok=True)
            for parent in list(Path(name).parents)[:-1]:
                with suppress(OSError):  # not empty
                    (self._folder / parent).rmdir()

    def listing(self) -> Iterator[tuple[str, int]]:
        """See `Files`."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                yield path.relative_to(self._folder).as_posix(), path.stat().st_size

    def _put_small(self, path: Path, body: bytes) -> None:
        """Another name for a file of these bytes, or a file of its own if there is none or it takes no more names."""
        same = self._shared.get(body)
        if same is not None and same != path:
            with suppress(OSError):
                if same.read_bytes() == body:
                    link_atomic(same, path)
                    return
        write_atomic(path, body)
        if len(self._shared) >= _MOST_SHARED:
            self._shared.pop(next(iter(self._shared)))
        self._shared[body] = path
