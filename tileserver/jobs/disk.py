"""What outlasts a kill or a power cut, and how much room a disk has; see `sr_model.atomic` too."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Final

# Names that `sr_model.atomic` and `link_atomic` give to files until they are whole.
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether a file's name is a temporary one: after a kill, such files remain and may be deleted."""
    return _TEMPORARY.fullmatch(name) is not None


def link_atomic(existing: Path, path: Path) -> None:
    """Make `path` another name of an existing file, in the place of what was there.

    Raises:
        OSError: the disk knows no such links, or the file has as many names as it can have.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        os.link(existing, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def part_of(path: Path) -> Path:
    """Where a file lies that takes minutes to write: under a name that is always the same.

    After a kill, the next run writes over it. A new name for each would fill the disk.
    """
    return path.with_name(f"{path.name}.part")


def publish(part: Path, path: Path) -> None:
    """Give a file its final name, in the place of what was there, so that it outlasts a power cut."""
    sync(part)
    part.replace(path)
    sync(path.resolve().parent)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
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
