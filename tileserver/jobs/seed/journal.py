"""The journal of a seed run, in SQLite: an interrupted run resumes from its last commit."""

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
    """Progress of a seed run. Changes take effect with `commit`; for one thread at a time.

    Args:
        path: the database file; created if it is missing.

    Attributes:
        connection: the database. It also holds the tiles of an archive, so that a tile and its entry in the journal
            are written in one transaction.
        is_new: whether the journal is empty.
        is_finished: whether the file is a complete archive that has not been moved to its final name.

    Raises:
        ArchiveError: the file is not a journal, or another process is writing it.
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.connection = sqlite3.connect(path, timeout=1, check_same_thread=False)
            # Locked from the first write to the end: no other process may write the same output.
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
            raise ArchiveError(f"{path} is not the journal of a seed run ({error}): move it away") from error
        self.is_finished = "metadata" in found and "seed_settings" not in found
        self.is_new = not found
        self._closed = False
        if not (self.is_new or self.is_finished or set(TABLES) <= found):
            self.close()
            raise ArchiveError(f"{path} is not the journal of a seed run: move it away")

    def create(self, settings: dict[str, str], more: str = "") -> None:
        """Create the tables in one transaction.

        Args:
            settings: identity and options of the run.
            more: SQL script of further tables.

        Raises:
            OutputError: the database cannot be written.
        """
        try:
            self.connection.executescript(f"BEGIN; {_SCHEMA} {more}")
            self.connection.executemany("INSERT INTO seed_settings VALUES (?, ?)", settings.items())
            self.connection.commit()
        except sqlite3.OperationalError as error:
            raise OutputError(f"the journal cannot be written ({error}): make room") from error

    @property
    def settings(self) -> dict[str, str]:
        """Settings from `create` and `note`; of a complete archive, the same from its metadata."""
        if not self.is_finished:
            return dict(self.connection.execute("SELECT name, value FROM seed_settings"))
        rows = dict(self.connection.execute("SELECT name, value FROM metadata"))
        names = {"identity": "orthosharp", "options": "orthosharp_options", "begun": "date"}
        return {name: rows.get(row, "") for name, row in names.items()}

    def note(self, name: str, value: str) -> None:
        """Add a setting, and commit."""
        self.connection.execute("INSERT OR REPLACE INTO seed_settings VALUES (?, ?)", (name, value))
        self.connection.commit()

    def done(self, tile: TileAddress) -> bool | None:
        """Return None if a node is not made yet, else whether all ground below it is restored."""
        row = self.connection.execute(
            "SELECT whole FROM seed_nodes WHERE z = ? AND x = ? AND y = ?", (tile.z, tile.x, tile.y)
        ).fetchone()
        return None if row is None else bool(row[0])

    def mark(self, tile: TileAddress, *, whole: bool) -> None:
        """Record that a node is made; an earlier failure is deleted."""
        place = (tile.z, tile.x, tile.y)
        self.connection.execute("INSERT OR REPLACE INTO seed_nodes VALUES (?, ?, ?, ?)", (*place, int(whole)))
        self.connection.execute("DELETE FROM seed_failures WHERE z = ? AND x = ? AND y = ?", place)

    def count(self, zoom: int) -> int:
        """Return the number of nodes of a zoom that are made."""
        query = "SELECT count(*) FROM seed_nodes WHERE z = ?"
        return int(self.connection.execute(query, (zoom,)).fetchone()[0])

    def fail(self, tile: TileAddress, reason: str) -> None:
        """Record why a node could not be made."""
        row = (tile.z, tile.x, tile.y, reason)
        self.connection.execute("INSERT OR REPLACE INTO seed_failures VALUES (?, ?, ?, ?)", row)

    def failures(self) -> list[tuple[int, int, int, str]]:
        """Return z, x, y and reason of each failed node."""
        query = "SELECT z, x, y, reason FROM seed_failures ORDER BY z, x, y"
        return list(self.connection.execute(query))

    @property
    def failure_count(self) -> int:
        """Number of failed nodes."""
        return int(self.connection.execute("SELECT count(*) FROM seed_failures").fetchone()[0])

    def put_pending(self, tile: TileAddress, quarter: Raster) -> None:
        """Store a tile's image at half its size, for the tile above."""
        pixels = zlib.compress(quarter.rgb.tobytes() + quarter.mask.tobytes(), 1)
        row = (tile.z, tile.x, tile.y, pixels)
        self.connection.execute("INSERT OR REPLACE INTO seed_pending VALUES (?, ?, ?, ?)", row)

    def pending(self, tile: TileAddress) -> Raster | None:
        """Return the image that `put_pending` stored, or None."""
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
        """Delete an image that is no longer needed."""
        query = "DELETE FROM seed_pending WHERE z = ? AND x = ? AND y = ?"
        self.connection.execute(query, (tile.z, tile.x, tile.y))

    def commit(self) -> None:
        """Commit all changes."""
        self.connection.commit()

    def close(self) -> None:
        """Roll back uncommitted changes and close the file; repeated calls do nothing."""
        if not self._closed:
            self._closed = True
            self.connection.rollback()
            self.connection.close()
