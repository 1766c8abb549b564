"""The SQLite tables of MBTiles, with each distinct image stored once."""

from __future__ import annotations

import hashlib
import sqlite3

# The application id is "MPBX", as MBTiles 1.3 recommends.
SCHEMA = """
PRAGMA application_id = 0x4D504258;
CREATE TABLE metadata (name TEXT NOT NULL, value TEXT);
CREATE UNIQUE INDEX metadata_index ON metadata (name);
CREATE TABLE images (
    tile_id INTEGER PRIMARY KEY, digest BLOB NOT NULL, shared INTEGER NOT NULL DEFAULT 0, tile_data BLOB NOT NULL
);
CREATE INDEX images_digest ON images (digest);
CREATE TABLE map (
    zoom_level INTEGER NOT NULL, tile_column INTEGER NOT NULL, tile_row INTEGER NOT NULL, tile_id INTEGER NOT NULL
);
CREATE UNIQUE INDEX map_index ON map (zoom_level, tile_column, tile_row);
CREATE VIEW tiles AS
    SELECT zoom_level, tile_column, tile_row, tile_data FROM map JOIN images ON images.tile_id = map.tile_id;
"""


class TileTables:
    """The tile tables of a database that the caller opens, commits and closes.

    MBTiles counts rows from the south (TMS); the methods count them from the north (XYZ).
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, z: int, x: int, y: int, body: bytes) -> None:
        """Store a tile; an image that is stored already is referenced, not stored again."""
        # The digest finds candidates; equality is decided by comparing the bytes.
        digest = hashlib.sha256(body).digest()[:8]
        find = "SELECT tile_id, shared FROM images WHERE digest = ? AND tile_data = ?"
        found = self._connection.execute(find, (digest, body)).fetchone()
        if found is None:
            insert = "INSERT INTO images (digest, tile_data) VALUES (?, ?)"
            tile_id = self._connection.execute(insert, (digest, body)).lastrowid
        else:
            tile_id = found[0]
            if not found[1]:
                self._connection.execute("UPDATE images SET shared = 1 WHERE tile_id = ?", (tile_id,))
        self._connection.execute(
            "INSERT OR REPLACE INTO map VALUES (?, ?, ?, ?)", (z, x, flipped(z, y), tile_id)
        )

    def drop_unused(self) -> None:
        """Delete images that no tile refers to any more."""
        self._connection.execute("DELETE FROM images WHERE tile_id NOT IN (SELECT tile_id FROM map)")

    def describe(self, rows: dict[str, str]) -> None:
        """Replace the metadata."""
        self._connection.execute("DELETE FROM metadata")
        self._connection.executemany("INSERT INTO metadata VALUES (?, ?)", rows.items())


def flipped(z: int, y: int) -> int:
    """Convert a row between XYZ and TMS numbering."""
    return (1 << z) - 1 - y
