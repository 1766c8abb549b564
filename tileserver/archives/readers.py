"""Read the sets of tiles that `orthosharp seed` writes."""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from pmtiles.tile import MagicNumberNotFound, SpecVersionUnsupported

from tileserver.archives.contents import Contents, contents_of
from tileserver.archives.identity import Identity, identity_of, is_of_newer_version
from tileserver.archives.mbtiles import flipped
from tileserver.archives.pmtiles_reader import PMTilesReader
from tileserver.archives.suffixes import MBTILES, PMTILES, TILEJSON
from tileserver.errors import ArchiveError, ForeignArchiveError


class Archive(Protocol):
    """A set of tiles; thread-safe."""

    identity: Identity
    metadata: dict[str, Any]

    @property
    def contents(self) -> Contents:
        """Title, credit, notice and extent."""

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """Return a tile's bytes, or None if the archive does not contain the tile; y counts from the north."""

    def close(self) -> None:
        """Close the file."""


def open_archive(path: Path) -> Archive:
    """Open an archive, whose format is told by its suffix, or a folder of tiles.

    Raises:
        ArchiveError: it is missing or damaged, or orthosharp did not make it.
    """
    if not path.exists():
        raise ArchiveError(f"{path} does not exist: make it with orthosharp seed")
    if path.is_dir():
        return FolderArchive(path)
    if path.suffix.lower() == MBTILES:
        return MBTilesArchive(path)
    if path.suffix.lower() == PMTILES:
        return PMTilesArchive(path)
    raise ArchiveError(
        f"{path} is neither an .mbtiles or .pmtiles file nor a folder: make one with orthosharp seed"
    )


class MBTilesArchive:
    """An MBTiles file, opened read-only."""

    def __init__(self, path: Path) -> None:
        # Immutable: a complete archive is only replaced as a whole, so SQLite need not lock the file.
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
                f"{path} is not an MBTiles archive ({error}): move it away, or name another file"
            ) from error

    @property
    def contents(self) -> Contents:
        """See `Archive`."""
        return contents_of(self.metadata)

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
    """A PMTiles file. It is not memory-mapped: truncating a mapped file would kill the process."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            with ExitStack() as undo:
                self._file = undo.enter_context(path.open("rb"))
                self._size = path.stat().st_size
                reader = PMTilesReader(self._read)
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
                f"{path} is not a PMTiles 3 archive: move it away, or name another file"
            ) from error
        self._reader = reader

    @property
    def contents(self) -> Contents:
        """See `Archive`."""
        return contents_of({**self.metadata, **self._reader.extent()})

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """See `Archive`."""
        return self._reader.get(z, x, y)

    def close(self) -> None:
        """See `Archive`."""
        self._file.close()

    def _read(self, start: int, length: int) -> bytes:
        # Python reserves what is asked for before it reads, and a damaged length may be any number.
        if start + length > self._size:
            raise EOFError("the archive ends before what it says it holds")
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
                f"{path} has no TileJSON of a complete set of tiles: run orthosharp seed again"
            ) from error
        self.identity = _identity(path, self.metadata)

    @property
    def contents(self) -> Contents:
        """See `Archive`."""
        return contents_of(self.metadata)

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """See `Archive`."""
        try:
            return (self._path / str(z) / str(x) / f"{y}.{self.identity.format}").read_bytes()
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """See `Archive`."""


def open_seeded(source: str) -> Archive | None:
    """Open a source that `orthosharp seed` made as one file; None if it is something else, such as a photograph.

    Raises:
        ArchiveError: it is damaged, or another version of orthosharp made it.
    """
    if "://" in source or not source.lower().endswith((MBTILES, PMTILES)) or not Path(source).is_file():
        return None
    try:
        return open_archive(Path(source))
    except ForeignArchiveError:
        return None


def _identity(path: Path, metadata: Any) -> Identity:
    found = identity_of(metadata) if isinstance(metadata, dict) else None
    if found is None:
        if isinstance(metadata, dict) and is_of_newer_version(metadata):
            raise ArchiveError(f"{path} was made by a newer version of orthosharp: update, or seed it again")
        is_foreign = not isinstance(metadata, dict) or "orthosharp" not in metadata
        raise (ForeignArchiveError if is_foreign else ArchiveError)(
            f"{path} was not made by orthosharp, or by an older version: name another file, or seed it again"
        )
    return found
