"""Write PMTiles 3: clustered, with each distinct image stored once, in memory that does not grow with the archive.

The arithmetic of the format comes from the package `pmtiles`. Its writer is not used: it keeps the whole directory in
memory, and treats tiles as identical if a 64-bit hash is equal.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pmtiles.tile import (
    Compression,
    Entry,
    HeaderDict,
    TileType,
    serialize_directory,
    serialize_header,
    zxy_to_tileid,
)

from tileserver.archives.mbtiles import flipped
from tileserver.archives.metadata import Description
from tileserver.tiling.encode import Extension

TILE_TYPES: Final[dict[Extension, TileType]] = {
    "png": TileType.PNG,
    "webp": TileType.WEBP,
    "jpg": TileType.JPEG,
}
HEADER_BYTES: Final = 127
# Header and root directory fit into the first 16 KiB, so that a client fetches both in one request.
_ROOT_BYTES: Final = 16 * 1024 - HEADER_BYTES
_LEAF_ENTRIES: Final = 4096
# Takes a tenth of a second.
_REPORTED_IMAGES: Final = 2000


def write_pmtiles(
    connection: sqlite3.Connection,
    path: Path,
    description: Description,
    report: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the tiles of `TileTables` as a PMTiles archive.

    Args:
        connection: database with the tables; a temporary table is added and dropped.
        path: file to write; it is not flushed to the disk.
        description: metadata of the archive.
        report: called with the share of the images that is written, after each of many parts of them.
    """
    connection.create_function("hilbert", 3, _hilbert, deterministic=True)
    connection.execute("DROP TABLE IF EXISTS temp.clustered")
    connection.execute("CREATE TEMP TABLE clustered (hilbert INTEGER PRIMARY KEY, tile_id INTEGER NOT NULL)")
    connection.execute(
        "INSERT INTO clustered SELECT hilbert(zoom_level, tile_column, tile_row) AS h, tile_id FROM map ORDER BY h"
    )
    metadata = gzip.compress(json.dumps(description.pmtiles()).encode(), mtime=0)
    with tempfile.TemporaryFile() as leaves, path.open("wb") as file:
        directories = _directories(connection, leaves)
        file.write(serialize_header(_header(description, directories, len(metadata))))
        file.write(directories.root)
        file.write(metadata)
        leaves.seek(0)
        shutil.copyfileobj(leaves, file)
        for number, body in enumerate(_images(connection)):
            if number % _REPORTED_IMAGES == 0:
                report(number / directories.images)
            file.write(body)
    report(1.0)
    connection.execute("DROP TABLE temp.clustered")


@dataclass(frozen=True)
class _Directories:
    root: bytes
    leaf_bytes: int
    tiles: int
    entries: int
    images: int
    data_bytes: int


@dataclass
class _Counts:
    tiles: int = 0
    entries: int = 0
    images: int = 0
    data_bytes: int = 0


def _directories(connection: sqlite3.Connection, leaves: IO[bytes]) -> _Directories:
    """Build the root directory, and write leaf directories to a file; leaves grow until the root fits."""
    tiles = connection.execute("SELECT count(*) FROM clustered").fetchone()[0]
    leaf_entries = _LEAF_ENTRIES
    while True:
        leaves.seek(0)
        leaves.truncate()
        counts, pointers = _Counts(), []
        only: list[Entry] = []
        for leaf in _batched(_entries(connection, counts), leaf_entries):
            text = serialize_directory(leaf)
            pointers.append(Entry(leaf[0].tile_id, leaves.tell(), len(text), 0))
            leaves.write(text)
            only = leaf
        root, leaf_bytes = serialize_directory(pointers), leaves.tell()
        if len(pointers) == 1 and len(serialize_directory(only)) <= _ROOT_BYTES:
            root, leaf_bytes = serialize_directory(only), 0
            leaves.seek(0)
            leaves.truncate()
        if len(root) <= _ROOT_BYTES:
            return _Directories(root, leaf_bytes, tiles, counts.entries, counts.images, counts.data_bytes)
        leaf_entries *= 2


def _entries(connection: sqlite3.Connection, counts: _Counts) -> Iterator[Entry]:
    """Yield directory entries in order; consecutive tiles with the same image form one entry."""
    # Only images that several tiles share need an entry here, and there are few of those.
    offsets: dict[int, int] = {}
    run: Entry | None = None
    for hilbert, tile_id, shared, length in connection.execute(
        "SELECT hilbert, tile_id, shared, length(tile_data) FROM clustered JOIN images USING (tile_id) "
        "ORDER BY hilbert"
    ):
        offset = offsets.get(tile_id)
        if offset is None:
            offset = counts.data_bytes
            counts.data_bytes += length
            counts.images += 1
            if shared:
                offsets[tile_id] = offset
        if run is not None and run.offset == offset and run.tile_id + run.run_length == hilbert:
            run.run_length += 1
            continue
        if run is not None:
            yield run
        run = Entry(hilbert, offset, length, 1)
        counts.entries += 1
    if run is not None:
        yield run


def _images(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield each image once, in the order in which `_entries` numbers them."""
    written: set[int] = set()
    for tile_id, shared, body in connection.execute(
        "SELECT tile_id, shared, tile_data FROM clustered JOIN images USING (tile_id) ORDER BY hilbert"
    ):
        if shared:
            if tile_id in written:
                continue
            written.add(tile_id)
        yield body


def _batched(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _hilbert(zoom: int, column: int, row: int) -> int:
    return zxy_to_tileid(zoom, column, flipped(zoom, row))


def _header(description: Description, directories: _Directories, metadata_bytes: int) -> HeaderDict:
    west, south, east, north = (round(value * 1e7) for value in description.bounds)
    longitude, latitude, zoom = description.center
    metadata_offset = HEADER_BYTES + len(directories.root)
    leaf_offset = metadata_offset + metadata_bytes
    return {
        "version": 3,
        "root_offset": HEADER_BYTES,
        "root_length": len(directories.root),
        "metadata_offset": metadata_offset,
        "metadata_length": metadata_bytes,
        "leaf_directory_offset": leaf_offset,
        "leaf_directory_length": directories.leaf_bytes,
        "tile_data_offset": leaf_offset + directories.leaf_bytes,
        "tile_data_length": directories.data_bytes,
        "addressed_tiles_count": directories.tiles,
        "tile_entries_count": directories.entries,
        "tile_contents_count": directories.images,
        "clustered": True,
        "internal_compression": Compression.GZIP,
        "tile_compression": Compression.NONE,
        "tile_type": TILE_TYPES[description.identity.format],
        "min_zoom": description.min_zoom,
        "max_zoom": description.max_zoom,
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
        "center_zoom": zoom,
        "center_lon_e7": round(longitude * 1e7),
        "center_lat_e7": round(latitude * 1e7),
    }
