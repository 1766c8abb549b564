"""Whether a file is whole, as its own directory tells: files are cut short by full disks and broken downloads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

# Tags of TIFF 6.0: where strips or tiles begin, and how long they are.
_OFFSETS: Final = (273, 324)
_COUNTS: Final = (279, 325)
_FORMATS: Final = {3: "u2", 4: "u4", 16: "u8"}
_MOST_DIRECTORIES: Final = 64
_MOST_ENTRIES: Final = 4096
# Of larger tables, the last so many blocks are looked at.
_MOST_BLOCKS: Final = 8_000_000
# What a whole file ends with, and how far from its end that may be: programs append a little.
_ENDS: Final = {
    b"\xff\xd8\xff": b"\xff\xd9",
    b"\x89PNG\r\n\x1a\n": b"IEND",
    b"\xff\x4f\xff\x51": b"\xff\xd9",
    b"\x00\x00\x00\x0cjP  ": b"\xff\xd9",
}
_TAIL_BYTES: Final = 64 * 1024


def missing_part(path: str) -> str:
    """Say what a local file lacks at its end; empty if nothing, or if its format does not tell.

    Reads the directories of a TIFF (16 bytes per block), or the end of a JPEG, PNG or JPEG 2000.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
            size = file.seek(0, 2)
            if head[:2] in (b"II", b"MM"):
                return _missing_of_tiff(file, head, size)
            end = next((end for start, end in _ENDS.items() if head.startswith(start)), b"")
            file.seek(max(0, size - _TAIL_BYTES))
            return "" if end in file.read() else "its end is missing"
    except (OSError, struct.error):
        return ""  # GDAL says what is wrong with it


class _Layout(NamedTuple):
    """TIFF or BigTIFF (which have 4 or 8 bytes for a place in the file)."""

    order: str
    place: str
    entries: str
    entry_bytes: int


def _missing_of_tiff(file: BinaryIO, head: bytes, size: int) -> str:
    order = "<" if head[:2] == b"II" else ">"
    (magic,) = struct.unpack(f"{order}H", head[2:4])
    layouts = {42: _Layout(order, "I", "H", 12), 43: _Layout(order, "Q", "Q", 20)}
    if magic not in layouts:
        return ""
    layout = layouts[magic]
    first = head[4:8] if magic == 42 else head[8:16]
    blocks = missing = 0
    for directory in _directories(file, layout, struct.unpack(f"{order}{layout.place}", first)[0], size):
        if directory is None:
            return "a part of its directory is missing"
        starts, lengths = directory
        # Blocks of no length are left out on purpose: they are empty.
        stored = lengths > 0
        blocks += int(stored.sum())
        missing += int((stored & (starts + lengths > size)).sum())
    return f"{missing} of its {blocks} blocks are missing" if missing else ""


def _directories(file: BinaryIO, layout: _Layout, start: int, size: int) -> Iterator[tuple[Any, Any] | None]:
    """Where the blocks of each directory begin and how long they are; None for a directory that is missing."""
    seen: set[int] = set()
    while start and start not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(start)
        count_bytes, place_bytes = struct.calcsize(layout.entries), struct.calcsize(layout.place)
        file.seek(start)
        raw = file.read(count_bytes)
        if len(raw) < count_bytes:
            yield None
            return
        count = min(struct.unpack(f"{layout.order}{layout.entries}", raw)[0], _MOST_ENTRIES)
        entries = file.read(count * layout.entry_bytes)
        following = file.read(place_bytes)
        if len(following) < place_bytes:
            yield None
            return
        tables = {}
        for number in range(count):
            entry = entries[number * layout.entry_bytes : (number + 1) * layout.entry_bytes]
            (tag,) = struct.unpack(f"{layout.order}H", entry[:2])
            if tag in (*_OFFSETS, *_COUNTS):
                tables[tag in _OFFSETS] = _table(file, layout, entry, size)
        if any(table is None for table in tables.values()):
            yield None
            return
        if len(tables) == 2 and len(tables[True]) == len(tables[False]):
            yield tables[True], tables[False]
        (start,) = struct.unpack(f"{layout.order}{layout.place}", following)


def _table(file: BinaryIO, layout: _Layout, entry: bytes, size: int) -> Any:
    """Values of an entry, int64; None if they lie beyond the end of the file."""
    kind, count = struct.unpack(
        f"{layout.order}H{layout.place}", entry[2 : 4 + struct.calcsize(layout.place)]
    )
    value = entry[4 + struct.calcsize(layout.place) :]
    dtype = np.dtype(f"{layout.order}{_FORMATS.get(kind, 'u4')}")
    if count * dtype.itemsize <= len(value):
        return np.frombuffer(value, dtype, count).astype(np.int64)
    (start,) = struct.unpack(f"{layout.order}{layout.place}", value)
    if start + count * dtype.itemsize > size:
        return None
    skipped = max(0, count - _MOST_BLOCKS)
    file.seek(start + skipped * dtype.itemsize)
    return np.frombuffer(file.read((count - skipped) * dtype.itemsize), dtype).astype(np.int64)
