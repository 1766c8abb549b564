"""Damage that disks do to files."""

from __future__ import annotations

import os
from pathlib import Path

import rasterio


def overwrite(path: Path, start: int, data: bytes) -> bytes:
    """Change bytes of a file and nothing else about it, as a failing disk does; returns what was there."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(start)
        before = file.read(len(data))
        file.seek(start)
        file.write(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return before


def block(path: Path, column: int, row: int) -> tuple[int, int]:
    """Offset and size of a block of a TIFF at its full resolution."""
    with rasterio.open(path) as dataset:
        offset, size = (
            dataset.get_tag_item(f"BLOCK_{word}_{column}_{row}", "TIFF", 1) for word in ("OFFSET", "SIZE")
        )
    return int(offset), int(size)
