"""Files in a folder or objects in a bucket, behind one protocol."""

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

# Every file takes up at least one disk block: smaller ones with equal bytes share it through hard links.
_SHARED_BYTES: Final = 4096
_MOST_SHARED: Final = 256


class Files(Protocol):
    """A set of named files. Thread-safe; methods raise OSError or obstore's BaseError."""

    def put(self, files: Iterable[tuple[str, bytes, str]]) -> None:
        """Write files, given as name, bytes and media type; each is written atomically."""

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None if it does not exist."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; missing ones are ignored."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of each file."""


class BucketFiles:
    """Objects in a bucket."""

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
    """Files in a folder, which is created along with the first file.

    Small files with equal bytes are hard links to one file, if the file system supports them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: dict[bytes, Path] = {}
        self._lock = threading.Lock()

    def put(self, files: Iterable[tuple[str, bytes, str]]) -> None:
        """See `Files`; the files survive a power failure once this returns."""
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
        """See `Files`; folders that become empty are deleted as well."""
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
        """Link to a file with the same bytes, or write a new one if there is none or it cannot be linked to."""
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
