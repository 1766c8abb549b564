"""Progress of long work: a bar per stage where there is a terminal, lines with the time left where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

# Without a terminal: seconds from a stage's beginning to its first line, and from line to line.
_FIRST_S: Final = 15.0
_EVERY_S: Final = 60.0

Report = Callable[[str, int, int], None]
"""Called with a stage, and how many of its items are done and of how many."""


def no_report(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""


def time_in_words(seconds: float) -> str:
    """`2 h 10 min`, `3 min`, `under a minute`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@dataclass
class _Stage:
    """A stage that is under way.

    Attributes:
        task: its bar.
        begun: how many items were done when it began.
        since_s: when it began.
        next_line_s: when its next line is due.
    """

    task: TaskID
    begun: int
    since_s: float
    next_line_s: float


class ProgressBars(AbstractContextManager["ProgressBars"]):
    """A `Report` that draws bars with rate and time left on a terminal, and prints lines now and then elsewhere."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            console: where bars are drawn, by default standard error.
            clock: tells seconds.
        """
        self._console, self._clock = console or Console(stderr=True), clock
        self._bar = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._stages: dict[str, _Stage] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that so many items of a stage are done."""
        now_s = self._clock()
        if stage not in self._stages:
            task = self._bar.add_task(stage, total=total, completed=done, rate="")
            self._stages[stage] = _Stage(task, done, now_s, now_s + _FIRST_S)
        under_way = self._stages[stage]
        elapsed_s = now_s - under_way.since_s
        rate = f"{(done - under_way.begun) / elapsed_s:.1f}/s" if elapsed_s > 1 else ""
        self._bar.update(under_way.task, completed=done, rate=rate)
        if self._console.is_terminal:
            return
        if done == total:
            self._console.print(f"{stage}: {total} done", highlight=False)
        elif now_s >= under_way.next_line_s and done > under_way.begun:
            under_way.next_line_s = now_s + _EVERY_S
            left_s = elapsed_s / (done - under_way.begun) * (total - done)
            self._console.print(
                f"{stage}: {done} of {total}, {time_in_words(left_s)} left", highlight=False, soft_wrap=True
            )

    def say(self, line: str) -> None:
        """Print a line: above the bars on a terminal, else to standard output."""
        if self._console.is_terminal:
            self._console.print(line, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
