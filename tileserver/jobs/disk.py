"""Files that survive a kill or a power failure, and free disk space; see also `sr_model.atomic`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sr_model.atomic import replacing


def link_atomic(existing: Path, path: Path) -> None:
    """Make `path` a hard link to an existing file, replacing what was there.

    Raises:
        OSError: the file system has no hard links, or the file has too many of them.
    """
    with replacing(path) as temporary:
        os.link(existing, temporary)


def part_of(path: Path) -> Path:
    """Return the temporary name of a file that takes minutes to write.

    It is always the same: after a kill, the next run overwrites the file instead of leaving it on the disk.
    """
    return path.with_name(f"{path.name}.part")


def publish(part: Path, path: Path) -> None:
    """Move a complete file to its final name, replacing what was there; survives a power failure."""
    sync(part)
    part.replace(path)
    sync(path.resolve().parent)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of a folder, in bytes; the folder need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, or the folder itself if it does not exist yet."""
    return os.access(_existing(folder), os.W_OK)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
