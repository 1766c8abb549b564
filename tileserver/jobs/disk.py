"""Files that are there as a whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that outlasts a power cut once the name of its folder is synced too.

    Raises:
        OSError: the disk does not take it; what was there before stays.
    """
    part = part_of(path)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def part_of(path: Path) -> Path:
    """Where a file lies until it is whole."""
    return path.with_name(f".{path.name}.part")


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Room on a folder's disk, whether or not the folder is there yet."""
    return shutil.disk_usage(_existing(folder)).free


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself if it is not there yet."""
    return os.access(_existing(folder), os.W_OK)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
