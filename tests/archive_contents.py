"""Every tile of an archive or a folder, read by no code of ours."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pmtiles.reader import MemorySource, all_tiles


def contents(path: Path) -> dict[tuple[int, int, int], bytes]:
    """Bytes by z, x, y, with y counted from the north."""
    if path.suffix == ".mbtiles":
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT * FROM tiles").fetchall()
        return {(z, x, 2**z - 1 - row): body for z, x, row, body in rows}
    if path.suffix == ".pmtiles":
        return dict(all_tiles(MemorySource(path.read_bytes())))
    return {
        (int(file.parts[-3]), int(file.parts[-2]), int(file.stem)): file.read_bytes()
        for file in path.glob("*/*/*.*")
    }
