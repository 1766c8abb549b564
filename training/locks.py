"""A folder that two processes must not write to at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from training.errors import RunError

LOCK: Final = ".lock"


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
