"""Bars for the stages of long work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class Stages(AbstractContextManager["Stages"]):
    """A bar per stage with rate and time left; where the output is no terminal, a line as each ends."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
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
            click.echo(f"{stage}: {total} done", err=True)
