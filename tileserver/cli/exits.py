"""What the commands share that work for hours: exit codes, signals, and memory that does not grow."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

import click

from sr_model import SrModelError
from tileserver.errors import StartError, TileServerError

DONE: Final = 0
DONE_WITH_FAILURES: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130
# GDAL's own cache of blocks; by default it grows to a twentieth of the machine's memory.
_GDAL_CACHE_MB: Final = "64"


def run_and_exit(work: Callable[[], int]) -> NoReturn:
    """Do the work of a command and leave with its exit code; what went wrong is one line."""
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)
    try:
        with _sigterm_is_ctrl_c():
            code = work()
    except (StartError, SrModelError) as error:
        click.echo(f"orthosharp: {error}", err=True)
        code = REFUSED
    except TileServerError as error:
        click.echo(f"orthosharp: {error}", err=True)
        code = DONE_WITH_FAILURES
    except BrokenPipeError:
        # Nobody reads on; click leaves in silence.
        raise
    except OSError as error:
        click.echo(
            f"orthosharp: {error}: make room or look after the disk, then run the same command again",
            err=True,
        )
        code = DONE_WITH_FAILURES
    except KeyboardInterrupt:
        click.echo("orthosharp: interrupted; run the same command again to go on", err=True)
        code = INTERRUPTED
    sys.exit(code)


@contextlib.contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse(reason: object) -> NoReturn:
    """Say why there is no way on, and leave with 2."""
    click.echo(f"orthosharp: {reason}", err=True)
    sys.exit(REFUSED)
