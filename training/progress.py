"""Progress of long work: a bar per stage where there is a terminal, a line as each ends where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int], None]
"""Called with a stage, and how many of its items are done and of how many."""


def no_report(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""


class ProgressBars(AbstractContextManager["ProgressBars"]):
    """A `Report` that draws bars with rate and time left on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Prepare.

        Args:
            console: where bars are drawn, by default standard error.
        """
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that so many items of a stage are done."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total, completed=done, rate=""), done
        task, begun = self._tasks[stage]
        elapsed_s = self._bar.tasks[task].elapsed or 0.0
        rate = f"{(done - begun) / elapsed_s:.1f}/s" if elapsed_s > 1 else ""
        self._bar.update(task, completed=done, rate=rate)
        if done == total and not self._console.is_terminal:
            self._console.print(f"{stage}: {total} done", highlight=False)

    def say(self, line: str) -> None:
        """Print a line: above the bars on a terminal, else to standard output."""
        if self._console.is_terminal:
            self._console.print(line, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
