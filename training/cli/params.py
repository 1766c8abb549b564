"""Types of parameters that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Folder(click.Path):
    """A folder that messages can name: `.` becomes its full path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Resolve a path without a name."""
        path = cast(Path, super().convert(value, param, ctx))
        return path if path.name else path.resolve()


FOLDER = Folder(exists=True, file_okay=False, path_type=Path)
OUT_FOLDER = Folder(file_okay=False, path_type=Path)


class NewFile(click.Path):
    """A file that is written at the end of the work; its folder is checked at the start."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Fail where the folder is missing or cannot be written to."""
        path = cast(Path, super().convert(value, param, ctx))
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            self.fail(
                f"{path.name} cannot be written: make its folder {str(path.parent)!r} first", param, ctx
            )
        return path


NEW_FILE = NewFile(dir_okay=False, path_type=Path)

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def validation_option(purpose: str) -> Option:
    """The block of ground that is kept, and what for."""
    return click.option(
        "--validation",
        type=float,
        nargs=4,
        metavar="W S E N",
        show_default="the southern fifth",
        help=f"Keep this block for {purpose}; bounds in the CRS of NEW.",
    )


def threads_option(default: Any) -> Option:
    """The number of threads; 0 leaves it to `choose_threads`."""
    return click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=default,
        show_default="OMP_NUM_THREADS, or the number of free processors",
        help="Number of threads that compute on a CPU.",
    )


def seed_option(default: Any) -> Option:
    """The seed of everything that is drawn."""
    return click.option(
        "--seed", type=int, default=default, show_default=True, help="Seed of every random draw."
    )
