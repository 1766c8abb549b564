"""Where seeded tiles go: an archive, which gets its name when it is whole, or a folder or bucket of files."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from tileserver.archives.description import Description
from tileserver.archives.identity import Identity
from tileserver.archives.pmtiles import write_pmtiles
from tileserver.archives.read import FolderArchive, open_archive
from tileserver.archives.tables import SCHEMA, TileTables
from tileserver.encode import MEDIA_TYPES, Extension
from tileserver.errors import ArchiveError, OutputError
from tileserver.grid import TileAddress
from tileserver.seed.journal import TABLES, Journal

Tiles = Iterable[tuple[TileAddress, bytes]]
TILEJSON: Final = "tilejson.json"
_TILE_NAME: Final = re.compile(r"\d+/\d+/\d+\.(png|webp|jpg)")


class Output(Protocol):
    """Somewhere to put tiles.

    Attributes:
        name: what the person called it.
        journal_path: where the journal lies until all is done.
        failures_path: where failures are listed.
        disk: folder whose disk gets the bytes; None for a store elsewhere.
        copies: how many times the bytes lie there at the end of the work.
        schema: tables that the journal has to have.
    """

    name: str
    journal_path: Path
    failures_path: Path
    disk: Path | None
    copies: int
    schema: str

    def metadata(self) -> dict[str, Any] | None:
        """What a finished output says about itself, or None where there is none.

        Raises:
            ArchiveError: something else is there.
        """

    def clear(self) -> None:
        """Remove what a new run must not leave behind."""

    def deliver(self, tiles: Tiles) -> None:
        """Bring tiles to a store, from any thread, before they are recorded.

        Raises:
            OutputError: it does not take them.
        """

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """Keep tiles in the journal's transaction."""

    def finish(self, journal: Journal, description: Description, *, again: bool) -> int:
        """Make the output whole; `again` keeps the journal for another run. Closes it.

        Returns:
            Bytes of the output.

        Raises:
            OutputError: it cannot be written.
        """


def open_output(name: str, extension: Extension, *, changed_only: bool = False) -> Output:
    """The output that a name means: .mbtiles, .pmtiles, an address, or a folder.

    Args:
        name: what the person called it.
        extension: format of the tiles.
        changed_only: whether files that have the right bytes already are left alone.

    Raises:
        ArchiveError: no store understands the address.
    """
    if "://" in name:
        try:
            store = from_url(name)
        except (BaseError, ValueError) as error:
            raise ArchiveError(
                f"{name} is no address of a store ({error}): use s3://, gs:// or az://"
            ) from error
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
        journal = Path(f"{slug}.seeding")
        return FolderOutput(name, store, journal, None, extension, changed_only=changed_only)
    path = Path(name)
    if path.suffix in (".mbtiles", ".pmtiles"):
        return ArchiveOutput(path)
    if path.exists() and not path.is_dir():
        raise ArchiveError(f"{path} is a file: name a folder, or a file that ends in .mbtiles or .pmtiles")
    return FolderOutput(name, None, path / ".seeding", path, extension, changed_only=changed_only)


class ArchiveOutput:
    """An MBTiles or PMTiles file. Tiles are collected in the journal's database beside it."""

    schema = SCHEMA

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ArchiveError(f"there is no folder {folder}: make it first")
        self.disk: Path | None = folder
        self._path = path
        self._is_pmtiles = path.suffix == ".pmtiles"
        self.copies = 2 if self._is_pmtiles else 1
        self.journal_path = path.with_name(f"{path.name}.seeding")
        self.failures_path = path.with_name(f"{path.name}.failures.txt")

    def metadata(self) -> dict[str, Any] | None:
        """See `Output`."""
        if not self._path.exists():
            return None
        archive = open_archive(self._path)
        archive.close()
        return archive.metadata

    def clear(self) -> None:
        """Leave the finished archive alone: the new one takes its place in one step."""

    def deliver(self, tiles: Tiles) -> None:
        """Nothing to do: `record` keeps them."""

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """See `Output`."""
        tables = TileTables(journal.connection)
        for tile, body in tiles:
            tables.put(tile.z, tile.x, tile.y, body)

    def finish(self, journal: Journal, description: Description, *, again: bool) -> int:
        """See `Output`."""
        try:
            return self._finish(journal, description, again=again)
        except (sqlite3.OperationalError, OSError) as error:
            raise OutputError(
                f"{self.name} cannot be written ({error}): make room, then run the same command again"
            ) from error

    def _finish(self, journal: Journal, description: Description, *, again: bool) -> int:
        part = self._path.with_name(f"{self._path.name}.part")
        connection = journal.connection
        tables = TileTables(connection)
        tables.drop_unused()
        tables.describe(description.mbtiles())
        connection.commit()
        if self._is_pmtiles:
            write_pmtiles(connection, part, description)
            journal.close()
        elif again:
            part.unlink(missing_ok=True)
            copy = sqlite3.connect(part)
            connection.backup(copy)
            _drop_journal(copy)
            copy.close()
            journal.close()
        else:
            # From here on the journal is the archive, which only lacks its name.
            _drop_journal(connection)
            journal.close()
            part = self.journal_path
        return self.publish(part, again=again)

    def publish(self, part: Path, *, again: bool) -> int:
        """Give a whole file its name, and remove the journal unless it is needed again."""
        sync(part)
        part.replace(self._path)
        sync(self._path.resolve().parent)
        if not again:
            self.journal_path.unlink(missing_ok=True)
        return self._path.stat().st_size


class FolderOutput:
    """Files `{z}/{x}/{y}.{ext}` in a folder or bucket; its TileJSON comes last and says that all are there.

    Args:
        name: what the person called it.
        store: the bucket, or None for the folder `disk`, which is made when it is first needed.
        journal_path: where the journal lies.
        disk: the folder if it is one.
        extension: of the tiles.
        changed_only: leave files alone that have the bytes already.
    """

    schema = ""
    copies = 1

    def __init__(
        self,
        name: str,
        store: ObjectStore | None,
        journal_path: Path,
        disk: Path | None,
        extension: Extension,
        *,
        changed_only: bool,
    ) -> None:
        self.name = name
        self.disk = disk
        self.journal_path = journal_path
        self.failures_path = (
            journal_path.with_name("failures.txt") if disk else Path(f"{journal_path}.failures.txt")
        )
        self._bucket = store
        self._extension = extension
        self._changed_only = changed_only

    @cached_property
    def _store(self) -> ObjectStore:
        return self._bucket or LocalStore(self.disk, mkdir=True)

    def metadata(self) -> dict[str, Any] | None:
        """See `Output`."""
        if self.disk is not None:
            if (self.disk / TILEJSON).exists():
                return FolderArchive(self.disk).metadata
            others = self.disk.exists() and any(path != self.journal_path for path in self.disk.iterdir())
            if others and not self.journal_path.exists():
                raise ArchiveError(f"{self.name} has files in it that are no tiles: name another folder")
            return None
        try:
            document: dict[str, Any] = json.loads(bytes(obstore.get(self._store, TILEJSON).bytes()))
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            raise ArchiveError(
                f"{self.name} cannot be read ({_brief(error)}): check address and credentials"
            ) from error
        return document

    def clear(self) -> None:
        """Remove the TileJSON, since the set is whole no more, and tiles that the new run may not replace."""
        try:
            self._remove([TILEJSON])
            if not self._changed_only:
                for batch in obstore.list(self._store):
                    self._remove([item["path"] for item in batch if _TILE_NAME.fullmatch(item["path"])])
        except (BaseError, OSError) as error:
            raise ArchiveError(f"{self.name} cannot be cleared ({_brief(error)})") from error

    def deliver(self, tiles: Tiles) -> None:
        """See `Output`."""
        try:
            for tile, body in tiles:
                path = f"{tile.z}/{tile.x}/{tile.y}.{self._extension}"
                if not (self._changed_only and self._has(path, body)):
                    self._put(path, body, MEDIA_TYPES[self._extension])
        except (BaseError, OSError) as error:
            raise OutputError(
                f"{self.name} does not take tiles ({_brief(error)}): run the same command again"
            ) from error

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """Nothing to do: `deliver` brought them."""

    def finish(self, journal: Journal, description: Description, *, again: bool) -> int:
        """See `Output`."""
        text = json.dumps(description.tilejson(), indent=2).encode()
        try:
            self._put(TILEJSON, text, "application/json")
            total = sum(
                item["size"]
                for batch in obstore.list(self._store)
                for item in batch
                if _TILE_NAME.fullmatch(item["path"])
            )
        except (BaseError, OSError) as error:
            raise OutputError(f"{self.name} does not take its TileJSON ({_brief(error)})") from error
        journal.close()
        if not again:
            self.journal_path.unlink(missing_ok=True)
        return total

    def _put(self, path: str, body: bytes, media_type: str) -> None:
        # Every store shows a file when it is whole and not before; a folder has no place for the type.
        attributes = None if self.disk else {"Content-Type": media_type}
        obstore.put(self._store, path, body, attributes=attributes)

    def _has(self, path: str, body: bytes) -> bool:
        try:
            return bytes(obstore.get(self._store, path).bytes()) == body
        except FileNotFoundError:
            return False

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                continue


def identity_of(metadata: dict[str, Any]) -> Identity:
    """Identity inside an output's metadata."""
    found = metadata["orthosharp"]
    return Identity.from_json(found if isinstance(found, str) else json.dumps(found))


def free_bytes(folder: Path) -> int:
    """Room on a folder's disk, whether or not the folder is there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def sync(path: Path) -> None:
    """Make a file or a folder's names last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop_journal(connection: sqlite3.Connection) -> None:
    """Leave nothing but the archive, in one transaction."""
    drops = "".join(f"DROP TABLE {name};" for name in TABLES)
    connection.executescript(f"BEGIN; DROP INDEX images_digest; {drops} COMMIT;")
    unused, pages = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
    )
    if unused > pages // 10:
        connection.execute("VACUUM")


def _brief(error: Exception) -> str:
    """The first line: stores add their whole configuration below it."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
