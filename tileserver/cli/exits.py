"""The end of commands: exit codes, refusals in one line, signals, and a limit on GDAL's cache."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, NoReturn

import click

import sr_model.interrupts
import sr_model.refusing
from sr_model.interrupts import interruptible
from tileserver.errors import StartError, TileServerError

DONE: Final = 0
DONE_WITH_FAILURES: Final = 1
REFUSED: Final = sr_model.refusing.REFUSED
INTERRUPTED: Final = sr_model.interrupts.INTERRUPTED
# GDAL's block cache; its default limit is 5 % of the machine's memory.
_GDAL_CACHE_MB: Final = "64"
_NAME: Final = "orthosharp"


def refusing(*errors: type[Exception]) -> AbstractContextManager[None]:
    """End the command with exit code 2 and one line when it cannot start.

    Args:
        errors: that mean so, besides `StartError` and `sr_model.SrModelError`.
    """
    return sr_model.refusing.refusing(_NAME, StartError, *errors)


@contextlib.contextmanager
def ending_quietly() -> Iterator[None]:
    """Do the work of a command that Ctrl-C ends without a word, and with exit code 130."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run_and_exit(work: Callable[[], int]) -> NoReturn:
    """Run a long job and exit with its code; an error is reported in one line."""
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)
    try:
        with refusing(), _sigterm_is_ctrl_c(), interruptible():
            code = work()
    except TileServerError as error:
        _say(error)
        code = DONE_WITH_FAILURES
    except BrokenPipeError:
        # The reader of the output has left; click exits silently.
        raise
    except OSError as error:
        _say(f"{error}: make room or check the disk, then run the same command again")
        code = DONE_WITH_FAILURES
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to continue")
        code = INTERRUPTED
    sys.exit(code)


def _say(reason: object) -> None:
    click.echo(f"{_NAME}: {reason}", err=True)


@contextlib.contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
