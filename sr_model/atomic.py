"""Files that are there as a whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write to a temporary file beside `path`, fsync it, and put it in the place of `path`.

    A reader finds the old content or the new, never a part of it, even after a power cut. That the new one is found
    then needs one more fsync, of the folder, which is left to those who promise it.

    Args:
        path: of the file; an existing one is replaced, and its permissions become the usual ones.
        content: the bytes, or a function that writes them to the open file it is given.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. What was at `path` stays, and nothing is
            left beside it; so it does when `content` raises.
    """
    with replacing(path) as temporary, temporary.open("x+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, and put the file made there in the place of `path`.

    Each writer gets a name of its own: two that write the same path do not meet, and the last one wins. If the block
    fails, what was at `path` stays, and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        # Also after success: renaming one of two links to the same file leaves both.
        temporary.unlink(missing_ok=True)
