"""How commands end: one line instead of a traceback, and an exit code that says which kind of end it is."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from sr_model.errors import SrModelError
from sr_model.interrupts import INTERRUPTED, interruptible
from sr_model.refusing import REFUSED
from training.errors import DivergedError, StoppedError, TrainingError

FAILED: Final = 1
"""A fault on the way: the disk is full or cannot be written to, or training diverged. See `REFUSED` for the others."""

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 stopped by the disk or by numbers that are not finite; 2 refused; 130 interrupted by "
    "Ctrl+C or SIGTERM."
)
# Parameters that name where a command writes.
_TARGETS: Final = ("run", "out")


class OneLineGroup(click.Group):
    """Turns errors and signals into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with _sigterm_is_ctrl_c(), interruptible():
                return super().invoke(ctx)
        except StoppedError as stopped:
            _end(str(stopped), INTERRUPTED)
        except KeyboardInterrupt:
            _end("interrupted: the same command starts again, and goes on with what is done", INTERRUPTED)
        except DivergedError as error:
            _end(f"Error: {error}", FAILED)
        except (TrainingError, SrModelError) as error:
            _end(f"Error: {error}", REFUSED)
        except BrokenPipeError:
            raise  # the reader of the output has left; click exits without a word
        except OSError as error:
            _end(f"Error: {_in_words(error)}", FAILED)


class NamesItsTarget(click.Command):
    """A command whose errors of the system name what it was to write, where the error itself names nothing."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as error:
            target = next((ctx.params[name] for name in _TARGETS if ctx.params.get(name)), None)
            if error.filename is None and target is not None and error.errno is not None:
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise


def _in_words(error: OSError) -> str:
    """The path, what is wrong with it, and the way out."""
    where = f"{error.filename}: " if error.filename is not None else ""
    what = (error.strerror or str(error)).rstrip(".")
    return f"{where}{what}. Free space or make it writable, and the same command goes on (fit with --resume)"


def _end(line: str, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)


@contextlib.contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
