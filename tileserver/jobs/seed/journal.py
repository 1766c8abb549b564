"""What has been done, in SQLite: a run that was killed goes on where its last commit was."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from tileserver.errors import ArchiveError, OutputError
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.raster import Raster

_SCHEMA: Final = """
CREATE TABLE seed_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE seed_nodes (
    z INTEGER, x INTEGER, y INTEGER, whole INTEGER NOT NULL, PRIMARY KEY (z, x, y)
) WITHOUT ROWID;
CREATE TABLE seed_pending (z INTEGER, x INTEGER, y INTEGER, pixels BLOB NOT NULL, PRIMARY KEY (z, x, y));
CREATE TABLE seed_failures (z INTEGER, x INTEGER, y INTEGER, reason TEXT NOT NULL, PRIMARY KEY (z, x, y));
"""
TABLES: Final = ("seed_settings", "seed_nodes", "seed_pending", "seed_failures")


class Journal:
    """Progress of one seeding. Nothing counts until `commit`; one thread at a time.

    Attributes:
        connection: the database, in which an archive keeps its tiles too, so that a tile and the note that it is
            done are one transaction.
        is_new: nothing has been noted yet.
        is_finished: an archive that only lacks its final name.

    Raises:
        ArchiveError: the file is no journal, or another process writes it.
        OutputError: the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.connection = sqlite3.connect(path, timeout=1, check_same_thread=False)
            # Held from the first write to the end: a second seeder must not write the same output.
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("BEGIN EXCLUSIVE")
            self.connection.commit()
            found = {row[0] for row in self.connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise ArchiveError(f"another process is writing {path}: let it finish, or stop it") from error
            if isinstance(error, sqlite3.OperationalError):
                raise OutputError(
                    f"{path} cannot be written ({error}): make room, or name another output"
                ) from error
            raise ArchiveError(f"{path} is no journal of a seeding ({error}): move it away") from error
        self.is_finished = "metadata" in found and "seed_settings" not in found
        self.is_new = not found
        self._closed = False
        if not (self.is_new or self.is_finished or set(TABLES) <= found):
            self.close()
            raise ArchiveError(f"{path} is no journal of a seeding: move it away")

    def create(self, settings: dict[str, str], more: str = "") -> None:
        """Make empty tables, and those of the script `more`, in one transaction.

        What makes this run differ from others is kept as `settings`.

        Raises:
            OutputError: the disk does not take them.
        """
        try:
            self.connection.executescript(f"BEGIN; {_SCHEMA} {more}")
            self.connection.executemany("INSERT INTO seed_settings VALUES (?, ?)", settings.items())
            self.connection.commit()
        except sqlite3.OperationalError as error:
            raise OutputError(f"the journal cannot be written ({error}): make room") from error

    @property
    def settings(self) -> dict[str, str]:
        """What `create` and `note` were given; of a finished archive, what its metadata say about that."""
        if not self.is_finished:
            return dict(self.connection.execute("SELECT name, value FROM seed_settings"))
        rows = dict(self.connection.execute("SELECT name, value FROM metadata"))
        names = {"identity": "orthosharp", "options": "orthosharp_options", "begun": "date"}
        return {name: rows.get(row, "") for name, row in names.items()}

    def note(self, name: str, value: str) -> None:
        """Add to the settings, and commit."""
        self.connection.execute("INSERT OR REPLACE INTO seed_settings VALUES (?, ?)", (name, value))
        self.connection.commit()

    def done(self, tile: TileAddress) -> bool | None:
        """None if the node is still to be made; else whether all ground below it is restored."""
        row = self.connection.execute(
            "SELECT whole FROM seed_nodes WHERE z = ? AND x = ? AND y = ?", (tile.z, tile.x, tile.y)
        ).fetchone()
        return None if row is None else bool(row[0])

    def mark(self, tile: TileAddress, *, whole: bool) -> None:
        """Note that a node is made, and that it did not fail."""
        place = (tile.z, tile.x, tile.y)
        self.connection.execute("INSERT OR REPLACE INTO seed_nodes VALUES (?, ?, ?, ?)", (*place, int(whole)))
        self.connection.execute("DELETE FROM seed_failures WHERE z = ? AND x = ? AND y = ?", place)

    def count(self, zoom: int) -> int:
        """How many nodes of a zoom are done."""
        query = "SELECT count(*) FROM seed_nodes WHERE z = ?"
        return int(self.connection.execute(query, (zoom,)).fetchone()[0])

    def fail(self, tile: TileAddress, reason: str) -> None:
        """Note why a unit could not be made."""
        row = (tile.z, tile.x, tile.y, reason)
        self.connection.execute("INSERT OR REPLACE INTO seed_failures VALUES (?, ?, ?, ?)", row)

    def failures(self) -> list[tuple[int, int, int, str]]:
        """z, x, y and reason of the units that failed."""
        query = "SELECT z, x, y, reason FROM seed_failures ORDER BY z, x, y"
        return list(self.connection.execute(query))

    @property
    def failure_count(self) -> int:
        """How many units failed."""
        return int(self.connection.execute("SELECT count(*) FROM seed_failures").fetchone()[0])

    def put_pending(self, tile: TileAddress, quarter: Raster) -> None:
        """Keep a tile's picture at half its size, for the tile above it."""
        pixels = zlib.compress(quarter.rgb.tobytes() + quarter.mask.tobytes(), 1)
        row = (tile.z, tile.x, tile.y, pixels)
        self.connection.execute("INSERT OR REPLACE INTO seed_pending VALUES (?, ?, ?, ?)", row)

    def pending(self, tile: TileAddress) -> Raster | None:
        """What `put_pending` kept."""
        row = self.connection.execute(
            "SELECT pixels FROM seed_pending WHERE z = ? AND x = ? AND y = ?", (tile.z, tile.x, tile.y)
        ).fetchone()
        if row is None:
            return None
        window = tile.window.scaled_down(2)
        values = np.frombuffer(zlib.decompress(row[0]), np.uint8)
        shape, count = (window.height, window.width), window.width * window.height
        return Raster(window, values[: 3 * count].reshape(*shape, 3), values[3 * count :].reshape(shape))

    def drop_pending(self, tile: TileAddress) -> None:
        """Forget a picture that nobody needs any more."""
        query = "DELETE FROM seed_pending WHERE z = ? AND x = ? AND y = ?"
        self.connection.execute(query, (tile.z, tile.x, tile.y))

    def commit(self) -> None:
        """Make everything since the last commit last."""
        self.connection.commit()

    def close(self) -> None:
        """Forget what was not committed, and let go of the file; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.connection.rollback()
            self.connection.close()
