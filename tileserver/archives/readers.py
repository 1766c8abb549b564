"""Read tiles back out of what the seeder wrote."""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from pmtiles.reader import Reader
from pmtiles.tile import MagicNumberNotFound, SpecVersionUnsupported

from tileserver.archives.identity import Identity, identity_of
from tileserver.archives.mbtiles import flipped
from tileserver.errors import ArchiveError

MBTILES: Final = ".mbtiles"
PMTILES: Final = ".pmtiles"
# Stands in a folder of tiles once all of them do.
TILEJSON: Final = "tilejson.json"


class Archive(Protocol):
    """A set of tiles; safe to use from many threads."""

    identity: Identity
    metadata: dict[str, Any]

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """A tile's bytes, y counted from the north, or None where the archive has no tile."""

    def close(self) -> None:
        """Let go of the file."""


def open_archive(path: Path) -> Archive:
    """Open an archive or a folder of tiles by its ending.

    Raises:
        ArchiveError: there is none, it is damaged, or orthosharp did not make it.
    """
    if not path.exists():
        raise ArchiveError(f"there is no {path}: make it with orthosharp seed")
    if path.is_dir():
        return FolderArchive(path)
    if path.suffix.lower() == MBTILES:
        return MBTilesArchive(path)
    if path.suffix.lower() == PMTILES:
        return PMTilesArchive(path)
    raise ArchiveError(f"{path} is neither .mbtiles nor .pmtiles nor a folder: make one with orthosharp seed")


class MBTilesArchive:
    """An MBTiles file, opened for reading only."""

    def __init__(self, path: Path) -> None:
        # Immutable: a finished archive is only ever replaced as a whole, so no lock is needed on any disk.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._lock = threading.Lock()
        try:
            with ExitStack() as undo:
                self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
                undo.callback(self._connection.close)
                query = "SELECT name, value FROM metadata"
                self.metadata: dict[str, Any] = dict(self._connection.execute(query))
                self._connection.execute("SELECT zoom_level FROM tiles LIMIT 1")
                self.identity = _identity(path, self.metadata)
                undo.pop_all()
        except sqlite3.DatabaseError as error:
            raise ArchiveError(
                f"{path} is no MBTiles archive ({error}): move it away, or name another file"
            ) from error

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """See `Archive`."""
        query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        with self._lock:
            found = self._connection.execute(query, (z, x, flipped(z, y))).fetchone()
        return None if found is None else bytes(found[0])

    def close(self) -> None:
        """See `Archive`."""
        self._connection.close()


class PMTilesArchive:
    """A PMTiles file. Read, not mapped: a mapped file that somebody cuts short would end the process."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            with ExitStack() as undo:
                self._file = undo.enter_context(path.open("rb"))
                # The package says nothing about its types.
                reader: Any = Reader(self._read)  # type: ignore[no-untyped-call]
                self.metadata: dict[str, Any] = reader.metadata()
                self.identity = _identity(path, self.metadata)
                undo.pop_all()
        except (
            MagicNumberNotFound,
            SpecVersionUnsupported,
            ValueError,
            IndexError,
            OSError,
            EOFError,
            zlib.error,
        ) as error:
            raise ArchiveError(
                f"{path} is no PMTiles 3 archive: move it away, or name another file"
            ) from error
        self._reader = reader

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """See `Archive`."""
        found: bytes | None = self._reader.get(z, x, y)
        return found

    def close(self) -> None:
        """See `Archive`."""
        self._file.close()

    def _read(self, start: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(length)


class FolderArchive:
    """A folder `{z}/{x}/{y}.{ext}` with its TileJSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.metadata: dict[str, Any] = json.loads((path / TILEJSON).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArchiveError(
                f"{path} has no TileJSON of a finished seeding: run orthosharp seed again"
            ) from error
        self.identity = _identity(path, self.metadata)

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """See `Archive`."""
        try:
            return (self._path / str(z) / str(x) / f"{y}.{self.identity.format}").read_bytes()
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """See `Archive`."""


def _identity(path: Path, metadata: Any) -> Identity:
    found = identity_of(metadata) if isinstance(metadata, dict) else None
    if found is None:
        raise ArchiveError(f"{path} was not made by this version of orthosharp: name another output")
    return found
