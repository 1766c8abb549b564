"""Measure how many tiles a second one core serves from a large archive of either format: lookups, and whole requests.

Run: .venv/bin/python -m benchmarks.archives [--tiles 1000000] [--seconds 5]
The archive is made of distinct random images; places are requested in random order, and as a viewer pans.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tileserver.archives.identity import Identity
from tileserver.archives.mbtiles import SCHEMA, flipped
from tileserver.archives.metadata import Description
from tileserver.archives.pmtiles import write_pmtiles
from tileserver.archives.readers import open_archive
from tileserver.cache.archive_store import ArchiveTiles
from tileserver.tiling.grid import BBox
from tileserver.tiling.tile import Tile, TileKey

ZOOM = 14
# A PNG of the size of a small tile, apart from its signature and end.
BODY_BYTES = 2000
IDENTITY = Identity(
    *("c" * 64, "old", "f" * 64, "benchmark", "d" * 64, 1.0, "corrected", "restored", "WebMercatorQuad"),
    format="png",
    quality=None,
    scale=1,
)


def make(path: Path, side: int) -> None:
    """Write MBTiles and PMTiles of side x side tiles."""
    chance = random.Random(1)
    filler = chance.randbytes(BODY_BYTES) + b"IEND\xaeB`\x82"
    rows = (
        (
            number + 1,
            number.to_bytes(8, "little"),
            0,
            b"\x89PNG\r\n\x1a\n" + number.to_bytes(8, "little") + filler,
        )
        for number in range(side * side)
    )
    with closing(sqlite3.connect(path.with_suffix(".mbtiles"))) as connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", rows)
        places = ((ZOOM, n // side, flipped(ZOOM, n % side), n + 1) for n in range(side * side))
        connection.executemany("INSERT INTO map VALUES (?, ?, ?, ?)", places)
        description = Description(
            *("benchmark", "", "", "", BBox(-180.0, -85.0, 180.0, 85.0), ZOOM, ZOOM),
            date="2026-01-01T00:00:00+00:00",
            identity=IDENTITY,
            options="{}",
        )
        connection.executemany("INSERT INTO metadata VALUES (?, ?)", description.mbtiles().items())
        connection.commit()
        write_pmtiles(connection, path.with_suffix(".pmtiles"), description)


def at_random(side: int) -> Iterator[tuple[int, int]]:
    """Yield places in random order."""
    chance = random.Random(2)
    while True:
        yield chance.randrange(side), chance.randrange(side)


def panning(side: int) -> Iterator[tuple[int, int]]:
    """Yield the places of views of 8 x 6 tiles at random places, each row by row."""
    for x, y in at_random(side - 8):
        yield from ((x + column, y + row) for row in range(6) for column in range(8))


def per_second(serve: Callable[[int, int], Any], places: Iterator[tuple[int, int]], seconds: float) -> float:
    """Return how many tiles a second of processor time are served."""
    started, begun, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(100):
            x, y = next(places)
            if serve(x, y) is None:
                raise SystemExit(f"tile {x}/{y} is missing: the archive or its reader is damaged")
            count += 1
    return count / (time.process_time() - started)


def measure(path: Path, side: int, seconds: float) -> dict[str, float]:
    """Measure lookups in an archive, and what a service adds to them: keys, checks and entity tags."""
    begun = time.perf_counter()
    archive = open_archive(path)
    opened_s, store = time.perf_counter() - begun, ArchiveTiles(archive)

    def served(x: int, y: int) -> Tile | None:
        key = TileKey("c" * 64, "restored", "WebMercatorQuad", ZOOM, x, y, 1, "png")
        body = store.get(key)
        return None if body is None else Tile.of(key, body)

    with closing(store):
        return {
            "milliseconds to open": 1000 * opened_s,
            "lookups at random": per_second(lambda x, y: archive.get(ZOOM, x, y), at_random(side), seconds),
            "tiles at random (aim 2000)": per_second(served, at_random(side), seconds),
            "tiles while panning (aim 2000)": per_second(served, panning(side), seconds),
        }


def main() -> None:
    """Make the archives, measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    side = max(16, round(options.tiles**0.5))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        make(path, side)
        report = {
            suffix: {name: round(value, 1) for name, value in measured.items()}
            for suffix in ("pmtiles", "mbtiles")
            for measured in [measure(path.with_suffix(f".{suffix}"), side, options.seconds)]
        }
    print(json.dumps({"tiles": side * side, "per second and core": report}, indent=2))


if __name__ == "__main__":
    main()
