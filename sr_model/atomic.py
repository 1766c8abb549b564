"""Files that are there as a whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

Content = bytes | Callable[[BinaryIO], object]


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
    # A name of its own for each writer: two that write the same path do not meet, and the last one wins.
    temporaries = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            with _named(path):
                _write(temporaries[path], content)
        for path, temporary in temporaries.items():
            with _named(path):
                temporary.replace(path)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise


def _write(path: Path, content: Content) -> None:
    with path.open("x+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of a write to a full disk do not say of which file, and those of numpy and Pillow have no number."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
