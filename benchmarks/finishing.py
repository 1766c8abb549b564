"""Measure the end of a large seed run: how fast PMTiles are written from its journal, and in how much memory.

Run: .venv/bin/python -m benchmarks.finishing [--tiles 1000000] [--tile-bytes 10000]

The journal is made of distinct random images in the order of a run. Megabytes per second count the images, by the clock
and by processor time: of a machine that is busy with other work, only the latter tells. It takes 2.1 times the bytes of
the tiles on the disk of the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pmtiles.tile import tileid_to_zxy, zxy_to_tileid

from benchmarks.archives import IDENTITY, ZOOM
from tileserver.archives.mbtiles import SCHEMA, TileTables, flipped
from tileserver.archives.metadata import Description
from tileserver.archives.pmtiles import write_pmtiles
from tileserver.tiling.grid import BBox

DESCRIPTION = Description(
    *("benchmark", "", "", "", BBox(-180.0, -85.0, 180.0, 85.0), ZOOM, ZOOM),
    date="2026-01-01T00:00:00+00:00",
    identity=IDENTITY,
    options="{}",
)


def make(connection: sqlite3.Connection, tiles: int, tile_bytes: int) -> None:
    """Fill the tables of a journal."""
    filler = random.Random(1).randbytes(tile_bytes - 8)
    connection.executescript(SCHEMA)
    images = ((n + 1, n.to_bytes(8, "little"), n.to_bytes(8, "little") + filler) for n in range(tiles))
    connection.executemany("INSERT INTO images VALUES (?, ?, 0, ?)", images)

    def places() -> Iterator[tuple[int, int, int, int]]:
        first = zxy_to_tileid(ZOOM, 0, 0)
        for number in range(tiles):
            zoom, x, y = tileid_to_zxy(first + number)
            yield zoom, x, flipped(zoom, y), number + 1

    connection.executemany("INSERT INTO map VALUES (?, ?, ?, ?)", places())
    connection.commit()


def measure(tiles: int, tile_bytes: int) -> dict[str, Any]:
    """Make a journal and finish it."""
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "journal")
        make(connection, tiles, tile_bytes)
        clock, processor = time.perf_counter(), time.process_time()
        TileTables(connection).drop_unused()
        connection.commit()
        write_pmtiles(connection, Path(folder) / "a.pmtiles", DESCRIPTION, shares.append)
        seconds = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
        connection.close()
    return {
        "megabytes": round(tiles * tile_bytes / 1e6),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "megabytes/s (aim 200)": {name: round(tiles * tile_bytes / 1e6 / s) for name, s in seconds.items()},
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "reports of progress": len(shares),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--tile-bytes", type=int, default=10_000)
    options = parser.parse_args()
    print(json.dumps({"tiles": options.tiles, **measure(options.tiles, options.tile_bytes)}, indent=2))


if __name__ == "__main__":
    main()
