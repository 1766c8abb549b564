"""A folder that two processes must not write to at once, and what a start that was cut off leaves in one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from sr_model.atomic import is_temporary
from training.errors import RunError

LOCK: Final = ".lock"


def is_unused(folder: Path, *parts: str) -> bool:
    """Return whether a folder is missing, or holds only what a start leaves that ended before it wrote a file.

    Args:
        folder: where something is about to begin.
        parts: names of folders in it that such a start makes.
    """
    if not folder.is_dir():
        return not folder.exists()
    return all(
        item.name == LOCK or is_temporary(item.name) or (item.name in parts and is_unused(item))
        for item in folder.iterdir()
    )


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system lets go of it when the process ends, however it ends.

    Args:
        folder: an existing one; a file `.lock` is made in it, and stays.

    Raises:
        RunError: another process holds it.
    """
    with (folder / LOCK).open("a+b") as file:
        try:
            _lock(file)
        except BlockingIOError as error:
            raise RunError(
                f"another process is at work in {folder.name}: wait until it has ended, or name another folder"
            ) from error
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
else:
    import errno
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        # POSIX locks, not flock's: processes that load crops, forked from this one, would keep those after its death.
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BlockingIOError(*error.args) from error
            raise
