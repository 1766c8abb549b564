"""MBTiles and PMTiles hold what was put into them, once, and say so to readers that are not ours."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import Compression, TileType, deserialize_directory

from tileserver.archives import pmtiles as pmtiles_writer
from tileserver.archives import pmtiles_reader
from tileserver.archives.identity import Identity
from tileserver.archives.mbtiles import SCHEMA, TileTables
from tileserver.archives.metadata import Description
from tileserver.archives.pmtiles import write_pmtiles
from tileserver.archives.pmtiles_reader import PMTilesReader
from tileserver.archives.readers import open_archive
from tileserver.errors import ArchiveError
from tileserver.tiling.grid import BBox

IDENTITY = Identity(
    content="c" * 64,
    source="old",
    fingerprint="f" * 64,
    model="tiny",
    weights="d" * 64,
    contrast=1.0,
    colours="corrected",
    layer="restored",
    tms="WebMercatorQuad",
    format="png",
    quality=None,
    scale=1,
)
DESCRIPTION = Description(
    name="A village",
    attribution="Test Survey | AI-restored (tiny, dddddddddddd)",
    credit="Test Survey",
    notice="AI-restored by tiny",
    bounds=BBox(-73.6, 42.3, -73.5, 42.4),
    min_zoom=0,
    max_zoom=3,
    date="2026-01-02T03:04:05+00:00",
    identity=IDENTITY,
    options="{}",
)

Tiles = dict[tuple[int, int, int], bytes]


def tiles_of(zoom: int) -> st.SearchStrategy[tuple[int, int, int]]:
    side = st.integers(0, 2**zoom - 1)
    return st.tuples(st.just(zoom), side, side)


# Few bodies, so that many tiles share one.
some_tiles = st.dictionaries(
    st.integers(0, 5).flatmap(tiles_of),
    st.sampled_from([b"empty", b"water", b"a", b"b" * 300]),
    min_size=1,
    max_size=60,
)


def database(tiles: Tiles) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    tables = TileTables(connection)
    for (z, x, y), body in tiles.items():
        tables.put(z, x, y, body)
    return connection


@settings(max_examples=60, deadline=None)
@given(some_tiles, some_tiles)
def test_tables_give_back_what_was_put_last_and_keep_bytes_once(first: Tiles, second: Tiles) -> None:
    with closing(database(first)) as connection:
        tables = TileTables(connection)
        for place, body in second.items():
            tables.put(*place, body)
        tables.drop_unused()
        expected = first | second
        rows = connection.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles")
        assert {(z, x, 2**z - 1 - row): body for z, x, row, body in rows} == expected
        (pictures,) = connection.execute("SELECT count(*) FROM images").fetchone()
        assert pictures == len(set(expected.values()))


@settings(max_examples=60, deadline=None)
@given(tiles=some_tiles, leaf_entries=st.sampled_from([2, 5, 4096]))
def test_pmtiles_give_back_what_was_put(
    tmp_path_factory: pytest.TempPathFactory, tiles: Tiles, leaf_entries: int
) -> None:
    path = tmp_path_factory.mktemp("pmtiles") / "a.pmtiles"
    with closing(database(tiles)) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pmtiles_writer, "_LEAF_ENTRIES", leaf_entries)
        write_pmtiles(connection, path, DESCRIPTION)
    data = path.read_bytes()
    source = MemorySource(data)
    assert dict(all_tiles(source)) == tiles
    reader = Reader(source)
    assert all(reader.get(*place) == body for place, body in tiles.items())
    header = reader.header()
    assert header["clustered"]
    assert header["tile_contents_count"] == len(set(tiles.values()))
    assert header["addressed_tiles_count"] == len(tiles)
    assert header["tile_data_length"] == sum(map(len, set(tiles.values())))
    assert header["tile_data_offset"] + header["tile_data_length"] == len(data)
    if header["leaf_directory_length"] == 0:
        root = deserialize_directory(reader.get_bytes(header["root_offset"], header["root_length"]))
        end = 0
        for entry in root:
            assert entry.offset <= end, "clustered: what is new follows what was written last"
            end = max(end, entry.offset + entry.length)


def test_writing_pmtiles_tells_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmtiles_writer, "_REPORTED_IMAGES", 2)
    shares: list[float] = []
    with closing(database({(3, x, 0): bytes([x]) for x in range(8)})) as connection:
        write_pmtiles(connection, tmp_path / "a.pmtiles", DESCRIPTION, shares.append)
    assert shares == [0, 0.25, 0.5, 0.75, 1]


def test_a_root_that_is_too_large_gets_larger_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    tiles = {
        (9, int(x), int(y)): bytes([i % 251, i // 251]) * (1 + i % 90)
        for i, (x, y) in enumerate(random.integers(0, 512, (9000, 2)))
    }
    monkeypatch.setattr(pmtiles_writer, "_LEAF_ENTRIES", 1)
    with closing(database(tiles)) as connection:
        write_pmtiles(connection, tmp_path / "a.pmtiles", DESCRIPTION)
    source = MemorySource((tmp_path / "a.pmtiles").read_bytes())
    assert Reader(source).header()["root_length"] <= 16384 - 127
    assert dict(all_tiles(source)) == tiles


def test_directories_are_read_once_and_their_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pmtiles_writer, "_LEAF_ENTRIES", 4)
    monkeypatch.setattr(pmtiles_writer, "_ROOT_BYTES", 200)
    tiles = {(6, x, y): f"{x}/{y}".encode() for x in range(8) for y in range(8)}
    path = tmp_path / "a.pmtiles"
    with closing(database(tiles)) as connection:
        write_pmtiles(connection, path, DESCRIPTION)
    data, reads = path.read_bytes(), list[int]()

    def read(offset: int, length: int) -> bytes:
        reads.append(offset)
        return data[offset : offset + length]

    reader = PMTilesReader(read)
    for _ in range(2):
        assert {place: reader.get(*place) for place in tiles} == tiles
    places = [
        place
        for place in reads
        if reader._header["leaf_directory_offset"] <= place < reader._header["tile_data_offset"]
    ]
    assert len(places) == len(set(places)) > 1
    assert reader.get(6, 9, 9) is None
    monkeypatch.setattr(pmtiles_reader, "_CACHE_BYTES", 512)
    small = PMTilesReader(read)
    assert {place: small.get(*place) for place in tiles} == tiles
    assert 0 < small.cached_bytes <= 512


def test_pmtiles_say_whose_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.pmtiles"
    with closing(database({(0, 0, 0): b"x", (3, 2, 3): b"y"})) as connection:
        write_pmtiles(connection, path, DESCRIPTION)
    reader = Reader(MemorySource(path.read_bytes()))
    header, metadata = reader.header(), reader.metadata()
    assert header["tile_type"] == TileType.PNG
    assert (header["internal_compression"], header["tile_compression"]) == (
        Compression.GZIP,
        Compression.NONE,
    )
    assert (header["min_zoom"], header["max_zoom"]) == (0, 3)
    assert [header[f"{name}_e7"] for name in ("min_lon", "min_lat", "max_lon", "max_lat")] == [
        -736000000,
        423000000,
        -735000000,
        424000000,
    ]
    assert metadata["attribution"] == DESCRIPTION.attribution
    assert (metadata["credit"], metadata["model_digest"]) == ("Test Survey", "d" * 64)
    archive = open_archive(path)
    assert archive.identity == IDENTITY
    assert archive.get(3, 2, 3) == b"y"
    assert archive.get(3, 3, 3) is None
    archive.close()


@pytest.fixture
def mbtiles(tmp_path: Path) -> Iterator[Path]:
    """Four tiles of four colours, at zoom 1."""
    path = tmp_path / "a.mbtiles"
    colours = {(1, 0, 0): (255, 0, 0), (1, 1, 0): (0, 255, 0), (1, 0, 1): (0, 0, 255), (1, 1, 1): (9, 9, 9)}
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        tables = TileTables(connection)
        for place, colour in colours.items():
            buffer = io.BytesIO()
            Image.new("RGB", (256, 256), colour).save(buffer, "PNG")
            tables.put(*place, buffer.getvalue())
        world = replace(DESCRIPTION, bounds=BBox(-180.0, -85.0511, 180.0, 85.0511), min_zoom=1, max_zoom=1)
        tables.describe(world.mbtiles())
        connection.commit()
    return path


def test_gdal_reads_mbtiles_the_right_way_up(mbtiles: Path) -> None:
    with rasterio.open(mbtiles) as dataset:
        assert dataset.driver == "MBTiles"
        assert dataset.crs.to_epsg() == 3857
        picture = dataset.read((1, 2, 3))
        tags = dataset.tags()
    half_rows, half_columns = picture.shape[1] // 2, picture.shape[2] // 2
    corners = picture[
        :, [10, 10, half_rows + 10, half_rows + 10], [10, half_columns + 10, 10, half_columns + 10]
    ]
    assert corners.T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    assert tags["attribution"] == DESCRIPTION.attribution
    assert tags["model_digest"] == "d" * 64


def test_mbtiles_have_what_the_standard_asks_for(mbtiles: Path) -> None:
    with closing(sqlite3.connect(mbtiles)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == 0x4D504258
        rows = dict(connection.execute("SELECT name, value FROM metadata"))
        columns = [row[0] for row in connection.execute("SELECT * FROM tiles").description]
        plan = " ".join(
            row[3]
            for row in connection.execute(
                "EXPLAIN QUERY PLAN SELECT tile_data FROM tiles "
                "WHERE zoom_level = 1 AND tile_column = 1 AND tile_row = 1"
            )
        )
    assert columns == ["zoom_level", "tile_column", "tile_row", "tile_data"]
    assert rows["format"] == "png"
    assert {
        "name",
        "bounds",
        "center",
        "minzoom",
        "maxzoom",
        "attribution",
        "description",
        "type",
        "version",
    } <= set(rows)
    assert "SCAN" not in plan
    archive = open_archive(mbtiles)
    blue = Image.open(io.BytesIO(archive.get(1, 0, 1) or b"")).getpixel((0, 0))
    assert blue == (0, 0, 255)
    assert archive.get(1, 5, 5) is None
    archive.close()


@pytest.mark.parametrize("name", ["a.mbtiles", "a.pmtiles", "a.tif", "missing.mbtiles"])
def test_files_that_are_not_archives_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"Dear server" * 100) if not name.startswith("missing") else None
    with pytest.raises(ArchiveError, match=name):
        open_archive(tmp_path / name)


def test_archives_of_others_are_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.mbtiles"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.commit()
    with pytest.raises(ArchiveError, match="was not made by orthosharp"):
        open_archive(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"lens": 3}, "newer version"), ({"source": None}, "older version"), (None, "not made by orthosharp")],
)
def test_archives_of_other_versions_say_which(
    tmp_path: Path, change: dict[str, object] | None, reason: str
) -> None:
    path, identity = tmp_path / "a.mbtiles", json.loads(IDENTITY.to_json())
    for key, value in (change or {}).items():
        identity[key] = value
        if value is None:
            del identity[key]
    rows = DESCRIPTION.mbtiles() | {"orthosharp": json.dumps(identity) if change else "from elsewhere"}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO metadata VALUES (?, ?)", rows.items())
    with pytest.raises(ArchiveError, match=reason):
        open_archive(path)
