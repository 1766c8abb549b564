"""Read tiles from a PMTiles 3 archive, whose parsed directories are kept in a bounded cache.

The package `pmtiles` parses the header, and from the root down every directory, again for each tile: 33 ms of Python in
an archive of a million tiles. Here a directory is four columns of numbers, parsed once and all at once.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache
from pmtiles.tile import Compression, deserialize_header, zxy_to_tileid

UInt64Array = npt.NDArray[np.uint64]
ReadBytes = Callable[[int, int], bytes]

# Directories of two million tiles.
_CACHE_BYTES: Final = 64 * 2**20
# A directory or metadata that claims to be larger is damaged, or was made to fill the memory.
_MAX_TEXT_BYTES: Final = 64 * 2**20
_COLUMNS: Final = 4
# A varint of 64 bits has at most so many bytes.
_MAX_VARINT_BYTES: Final = 10
# The root, and three levels of leaves (PMTiles 3, section 4).
_MAX_DEPTH: Final = 4


@dataclass(frozen=True, eq=False)
class Directory:
    """Entries of a directory, ascending by tile.

    Attributes:
        tile_ids: uint64 [n], the first tile of each entry.
        run_lengths: uint64 [n], number of tiles with the same image; 0 if the entry points to another directory.
        lengths, offsets: uint64 [n], bytes of the image or directory, and where they begin in their section.
    """

    tile_ids: UInt64Array
    run_lengths: UInt64Array
    lengths: UInt64Array
    offsets: UInt64Array

    @property
    def nbytes(self) -> int:
        """Memory of the columns, in bytes."""
        return _COLUMNS * self.tile_ids.nbytes

    @classmethod
    def parse(cls, text: bytes) -> Directory:
        """Parse a directory (PMTiles 3, section 4) after decompression.

        Raises:
            ValueError: it is damaged.
        """
        numbers = _varints(text)
        count = int(numbers[0]) if len(numbers) else 0
        if len(numbers) != 1 + _COLUMNS * count:
            raise ValueError("a directory lacks entries")
        steps, run_lengths, lengths, places = numbers[1:].reshape(_COLUMNS, count)
        tile_ids = np.cumsum(steps, dtype=np.uint64)
        if (tile_ids[1:] <= tile_ids[:-1]).any() or (count and places[0] == 0):
            raise ValueError("a directory is not in order")
        return cls(tile_ids, run_lengths, lengths, _offsets(places, lengths))

    def find(self, tile_id: int) -> tuple[int, int, int] | None:
        """Return run length, offset and length of the entry that a tile belongs to, or None."""
        at = int(np.searchsorted(self.tile_ids, np.uint64(tile_id), side="right")) - 1
        if at < 0:
            return None
        run_length = int(self.run_lengths[at])
        if run_length and tile_id - int(self.tile_ids[at]) >= run_length:
            return None
        return run_length, int(self.offsets[at]), int(self.lengths[at])


def _varints(text: bytes) -> UInt64Array:
    """Decode a sequence of varints (protobuf encoding): seven bits a byte, the lowest first."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise ValueError("a directory ends within a number")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)[: len(ends)]
    sizes = ends - starts + 1
    if len(sizes) and sizes.max() > _MAX_VARINT_BYTES:
        raise ValueError("a directory has a number of more than 64 bits")
    numbers = np.zeros(len(ends), np.uint64)
    for place in range(int(sizes.max()) if len(sizes) else 0):
        longer = sizes > place
        bits = (data[starts[longer] + place] & 0x7F).astype(np.uint64)
        numbers[longer] |= bits << np.uint64(7 * place)
    return numbers


def _offsets(places: UInt64Array, lengths: UInt64Array) -> UInt64Array:
    """Decode offsets: one more than the offset itself, or 0 for an image directly behind the one before."""
    behind = np.concatenate([[0], np.cumsum(lengths, dtype=np.uint64)[:-1]]).astype(np.uint64)[: len(lengths)]
    named = np.maximum.accumulate(np.where(places > 0, np.arange(len(places)), 0))
    offsets: UInt64Array = places[named] - np.uint64(1) + (behind - behind[named])
    return offsets


class PMTilesReader:
    """Finds tiles in an archive; thread-safe if `read` is.

    Args:
        read: returns the bytes from an offset on, given their number.

    Raises:
        ValueError, EOFError, zlib.error, pmtiles.tile.MagicNumberNotFound, SpecVersionUnsupported: it is not a
            PMTiles 3 archive, or is damaged.
    """

    def __init__(self, read: ReadBytes) -> None:
        self._read = read
        self._header = deserialize_header(read(0, 127))
        self._directories: LRUCache[int, Directory] = LRUCache(
            _CACHE_BYTES, lambda directory: directory.nbytes
        )
        self._lock = threading.Lock()

    @property
    def cached_bytes(self) -> int:
        """Memory of the directories that are kept, in bytes."""
        with self._lock:
            return int(self._directories.currsize)

    def extent(self) -> dict[str, Any]:
        """Return bounds in degrees and zooms, which the header holds, as other formats have them in their metadata."""
        header = self._header
        sides = (header["min_lon_e7"], header["min_lat_e7"], header["max_lon_e7"], header["max_lat_e7"])
        return {
            "bounds": [side / 1e7 for side in sides],
            "minzoom": header["min_zoom"],
            "maxzoom": header["max_zoom"],
        }

    def metadata(self) -> Any:
        """Return the archive's JSON metadata; raises as the constructor."""
        return json.loads(self._text(self._header["metadata_offset"], self._header["metadata_length"]))

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """Return a tile's bytes, or None if the archive does not contain it; raises as the constructor."""
        header, tile_id = self._header, zxy_to_tileid(z, x, y)
        directory = self._directory(header["root_offset"], header["root_length"])
        for _ in range(_MAX_DEPTH):
            found = directory.find(tile_id)
            if found is None:
                return None
            run_length, offset, length = found
            if run_length:
                if offset + length > header["tile_data_length"]:
                    raise ValueError("a tile lies beyond the end of the archive")
                return self._read(header["tile_data_offset"] + offset, length)
            directory = self._directory(header["leaf_directory_offset"] + offset, length)
        raise ValueError("directories point to each other")

    def _directory(self, offset: int, length: int) -> Directory:
        with self._lock:
            known = self._directories.get(offset)
        if known is None:
            known = Directory.parse(self._text(offset, length))
            # A directory that is too large for the cache is parsed each time.
            if known.nbytes <= _CACHE_BYTES:
                with self._lock:
                    self._directories[offset] = known
        return known

    def _text(self, offset: int, length: int) -> bytes:
        text = self._read(offset, length)
        if self._header["internal_compression"] == Compression.NONE:
            return text
        if self._header["internal_compression"] != Compression.GZIP:
            raise ValueError("the archive's directories are compressed otherwise than with gzip")
        unpacking = zlib.decompressobj(wbits=31)
        unpacked = unpacking.decompress(text, _MAX_TEXT_BYTES)
        if not unpacking.eof:
            raise EOFError("a directory is cut short, or too large")
        return unpacked
