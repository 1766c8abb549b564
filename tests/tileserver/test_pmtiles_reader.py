"""PMTiles directories: what the package `pmtiles` serializes is read back, from a bounded cache; damage is an error."""

from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
from pmtiles.tile import Entry, deserialize_directory, serialize_directory

from tileserver.archives import pmtiles_reader
from tileserver.archives.pmtiles_reader import Directory, PMTilesReader


def entries(seed: int, count: int) -> list[Entry]:
    """Entries with gaps, runs, pointers, images behind each other and images that are used again."""
    chance = random.Random(seed)
    made, tile_id, end = [], chance.randrange(2**40), 0
    for _ in range(count):
        offset = chance.choice([end, end, chance.randrange(2**45)])
        length = chance.randrange(1, 2**20)
        run = chance.choice([0, 1, 1, 1, 300])
        made.append(Entry(tile_id, offset, length, run))
        tile_id += max(run, 1) + chance.choice([0, 0, 1, 2**30])
        end = offset + length
    return made


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_directories_are_parsed_as_the_package_parses_them(count: int) -> None:
    text = serialize_directory(entries(count, count))
    mine, theirs = Directory.parse(gzip.decompress(text)), deserialize_directory(text)
    assert [
        (int(tile_id), int(offset), int(length), int(run))
        for tile_id, offset, length, run in zip(
            mine.tile_ids, mine.offsets, mine.lengths, mine.run_lengths, strict=True
        )
    ] == [(entry.tile_id, entry.offset, entry.length, entry.run_length) for entry in theirs]


def test_a_tile_is_found_within_its_run_and_nowhere_else() -> None:
    text = serialize_directory([Entry(5, 0, 10, 3), Entry(9, 10, 20, 1), Entry(20, 30, 40, 0)])
    directory = Directory.parse(gzip.decompress(text))
    assert [directory.find(tile_id) for tile_id in (4, 8, 10, 19)] == [None] * 4
    assert {directory.find(tile_id) for tile_id in (5, 6, 7)} == {(3, 0, 10)}
    assert directory.find(9) == (1, 10, 20)
    assert directory.find(20) == directory.find(2**40) == (0, 30, 40)


@pytest.mark.parametrize(
    "text",
    [
        b"\x80",  # ends within a number
        b"\x01\x01\x01\x01",  # an entry of three numbers
        b"\xff" * 10 + b"\x01",  # more than 64 bits
        b"\x01\x01\x01\x01\x00",  # behind no other
        b"\x02\x01\x00\x01\x01\x01\x01\x01\x01",  # twice the same tile
        b"\x02\x01" + b"\xff" * 9 + b"\x01" + b"\x01" * 6,  # beyond 64 bits, and so back to the start
    ],
)
def test_damaged_directories_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="a directory"):
        Directory.parse(text)


def test_any_bytes_are_a_directory_or_an_error() -> None:
    chance = np.random.default_rng(3)
    for _ in range(2000):
        text = chance.integers(0, 256, chance.integers(0, 40), np.uint8).tobytes()
        try:
            Directory.parse(text)
        except ValueError:
            continue


def archive(root: bytes, leaves: bytes = b"") -> bytes:
    """An archive of these directories, and a megabyte of tiles."""
    header = bytearray(127)
    header[:8] = b"PMTiles\x03"
    numbers = {8: 127, 16: len(root), 40: 127 + len(root), 48: len(leaves)}
    numbers |= {56: 127 + len(root) + len(leaves), 64: 2**20}
    for place, number in numbers.items():
        header[place : place + 8] = number.to_bytes(8, "little")
    header[97:100] = bytes([2, 1, 2])
    return bytes(header) + root + leaves + bytes(2**20)


def reader_of(data: bytes) -> PMTilesReader:
    return PMTilesReader(lambda offset, length: data[offset : offset + length])


def test_directories_that_point_to_each_other_are_refused() -> None:
    leaf = serialize_directory([Entry(0, 0, 0, 0)])
    leaf = serialize_directory([Entry(0, 0, len(leaf), 0)])
    with pytest.raises(ValueError, match="each other"):
        reader_of(archive(leaf, leaf)).get(0, 0, 0)


def test_a_tile_beyond_the_end_is_refused() -> None:
    reader = reader_of(archive(serialize_directory([Entry(0, 2**20 - 1, 2, 1)])))
    with pytest.raises(ValueError, match="beyond the end"):
        reader.get(0, 0, 0)


def test_a_directory_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmtiles_reader, "_MAX_TEXT_BYTES", 2**16)
    with pytest.raises(EOFError):
        reader_of(archive(gzip.compress(b"\x01" * 2**20))).get(0, 0, 0)
