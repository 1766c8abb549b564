"""Output to an MBTiles or PMTiles file, which gets its final name when it is complete."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from pmtiles.tile import deserialize_header

from tileserver.archives.mbtiles import SCHEMA, TileTables
from tileserver.archives.metadata import Description
from tileserver.archives.pmtiles import HEADER_BYTES, write_pmtiles
from tileserver.archives.readers import open_archive
from tileserver.archives.suffixes import PMTILES
from tileserver.errors import ArchiveError, OutputError
from tileserver.jobs.disk import part_of, publish
from tileserver.jobs.seed.journal import TABLES, Journal
from tileserver.jobs.seed.output import ReportShare, Tiles, unreported

# Of SQLite: 40 MB.
_REPORTED_PAGES: Final = 10_000


class ArchiveOutput:
    """An archive; its tiles are collected in the database of the journal, beside it."""

    schema = SCHEMA
    # Rows and index entries in the tables, or a directory entry; a generous estimate.
    tile_bytes = 128

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ArchiveError(f"the folder {folder} does not exist: create it first")
        self.disk: Path | None = folder
        self._path = path
        self._is_pmtiles = path.suffix.lower() == PMTILES
        self.copies = 2 if self._is_pmtiles else 1
        self.journal_path = path.with_name(f"{path.name}.seeding")
        self.failures_path = path.with_name(f"{path.name}.failures.txt")

    def metadata(self) -> dict[str, Any] | None:
        """See `Output`."""
        if not self._path.exists():
            return None
        archive = open_archive(self._path)
        archive.close()
        if self._path.stat().st_size < self._whole_bytes():
            raise ArchiveError(f"{self.name} is truncated, perhaps an incomplete copy: move it away")
        return archive.metadata

    def _whole_bytes(self) -> int:
        """Return the length of the archive according to its header."""
        with self._path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        if self._is_pmtiles:
            header = deserialize_header(head)
            return int(header["tile_data_offset"] + header["tile_data_length"])
        # https://www.sqlite.org/fileformat.html, 1.3: a page size of 65536 is written as 1.
        page_bytes, pages = (int.from_bytes(head[first:end], "big") for first, end in ((16, 18), (28, 32)))
        return (65536 if page_bytes == 1 else page_bytes) * pages

    def clear(self) -> None:
        """Do nothing: the new archive replaces the existing one in a single step."""

    def deliver(self, tiles: Tiles) -> None:
        """Do nothing: `record` stores the tiles."""

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """See `Output`."""
        tables = TileTables(journal.connection)
        for tile, body in tiles:
            tables.put(tile.z, tile.x, tile.y, body)

    def finish(
        self,
        journal: Journal,
        description: Description,
        *,
        again: bool,
        report: ReportShare = unreported,
    ) -> int:
        """See `Output`."""
        part = part_of(self._path)
        try:
            return self._finish(journal, description, part, again=again, report=report)
        except (sqlite3.OperationalError, OSError) as error:
            # A partial archive would take up the space that is missing.
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{self.name} cannot be written ({error}): make room, then run the same command again"
            ) from error

    def _finish(
        self, journal: Journal, description: Description, part: Path, *, again: bool, report: ReportShare
    ) -> int:
        connection = journal.connection
        tables = TileTables(connection)
        tables.drop_unused()
        tables.describe(description.mbtiles())
        connection.commit()
        if self._is_pmtiles:
            write_pmtiles(connection, part, description, report)
            journal.close()
        elif again:
            part.unlink(missing_ok=True)
            copy = sqlite3.connect(part)
            connection.backup(
                copy,
                pages=_REPORTED_PAGES,
                progress=lambda _, left, pages: report(1 - left / max(pages, 1)),
            )
            _drop_journal(copy)
            copy.close()
            journal.close()
        else:
            # From here on, the journal is the archive under another name.
            _drop_journal(connection)
            journal.close()
            part = self.journal_path
        return self.publish(part, again=again)

    def publish(self, part: Path, *, again: bool) -> int:
        """Move a complete file to its final name, and delete the journal unless it is needed again."""
        publish(part, self._path)
        if not again:
            self.journal_path.unlink(missing_ok=True)
        return self._path.stat().st_size


def _drop_journal(connection: sqlite3.Connection) -> None:
    """Drop the tables of the journal in one transaction, which leaves the archive."""
    drops = "".join(f"DROP TABLE {name};" for name in TABLES)
    connection.executescript(f"BEGIN; DROP INDEX images_digest; {drops} COMMIT;")
    unused, pages = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
    )
    if unused > pages // 10:
        connection.execute("VACUUM")
