"""Files that are there as a whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

Content = bytes | Callable[[BinaryIO], object]

_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def is_temporary(name: str) -> bool:
    """Return whether a file name is a temporary one. A kill leaves such files behind; they may be deleted."""
    return _TEMPORARY.fullmatch(name) is not None


def write_atomic(path: Path, content: Content) -> None:
    """Write to a temporary file beside `path`, fsync it, and put it in the place of `path`.

    A reader finds the old content or the new, never a part of it, even after a power cut. That the new one is found
    then needs one more fsync, of the folder, which is left to those who promise it.

    Args:
        path: of the file; an existing one is replaced, and its permissions become the usual ones.
        content: the bytes, or a function that writes them to the open file it is given.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; it names `path`. What was at `path`
            stays, and nothing is left beside it; so it does when `content` raises.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, Content]) -> None:
    """Write several files of which none is replaced unless all of them could be written.

    Args:
        contents: by path, see `write_atomic`. They are put in place in this order, one right after the other.

    Raises:
        OSError: see `write_atomic`.
    """
    with contextlib.ExitStack() as unfinished:
        temporaries = {path: unfinished.enter_context(_temporary(path)) for path in contents}
        for path, content in contents.items():
            with _named(path):
                _write(temporaries[path], content)
        for path, temporary in temporaries.items():
            with _named(path):
                temporary.replace(path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, and put the file made there in the place of `path`.

    Each writer gets a name of its own: two that write the same path do not meet, and the last one wins. If the block
    fails, what was at `path` stays, and nothing is left beside it.
    """
    with _temporary(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a name of its own for each writer, beside `path`, and leave nothing under that name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        # Also after success: renaming one of two links to the same file leaves both. What went wrong before matters
        # more than that a read-only disk refuses this, too.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write(path: Path, content: Content) -> None:
    with path.open("x+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors: those of a full disk do not, and those of numpy and Pillow have no number."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
