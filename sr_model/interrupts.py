"""Ctrl-C: quiet from a program's first moment on, with exit code 130.

Imports nothing that takes time, so that programs can begin with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130


def leave_at_once() -> None:
    """Let Ctrl-C end the process without a word until `interruptible` begins.

    Meant for the time of imports, when there is nothing to clean up, and an exception would come out of somebody
    else's half-loaded module. A process that was started without Ctrl-C (as with nohup) stays so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C be KeyboardInterrupt while work is done that has an end of its own."""
    before = signal.getsignal(signal.SIGINT)
    if before is not _leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error comes of Ctrl-C: an extension module that is interrupted while it loads fails to be imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Not sys.exit: an import, or a thread that is waited for, could catch it or take its time.
    os._exit(INTERRUPTED)
