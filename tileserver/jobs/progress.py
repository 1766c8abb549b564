"""Progress of jobs: a bar at a terminal, lines in a log, JSON for programs."""

from __future__ import annotations

import datetime
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

import click
from rich.filesize import decimal

LINE_S: Final = 5.0


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job at one moment. A unit is a metatile, or the block of metatiles that one tile covers.

    Attributes:
        units, all_units: units restored so far, including those of earlier runs, and in total.
        units_made: units restored in this run.
        tiles, nbytes: number and size of the tiles written in this run.
        failures: units that failed.
        megapixels: pixels restored in this run.
        seconds: time since this run began.
    """

    units: int
    all_units: int
    units_made: int = 0
    tiles: int = 0
    nbytes: int = 0
    failures: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0


@dataclass
class Tally:
    """Counts the work of a run; its clock starts when it is created.

    Attributes:
        all_units: number of units of the job.
        unit_px: number of pixels of one unit.
        units_before: units restored by earlier runs.
        units_made, failures, tiles, nbytes: see `JobProgress`.
    """

    all_units: int
    unit_px: int
    units_before: int = 0
    units_made: int = 0
    failures: int = 0
    tiles: int = 0
    nbytes: int = 0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since the run began, in seconds."""
        return time.monotonic() - self._started

    def progress(self) -> JobProgress:
        """Return the current progress."""
        return JobProgress(
            units=self.units_before + self.units_made,
            all_units=self.all_units,
            units_made=self.units_made,
            tiles=self.tiles,
            nbytes=self.nbytes,
            failures=self.failures,
            megapixels=self.units_made * self.unit_px / 1e6,
            seconds=self.seconds,
        )


class Reporter(Protocol):
    """Shows the progress of a job; used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: JobProgress) -> None:
        """Show the progress."""


def reporter(*, as_json: bool) -> Reporter:
    """Return a reporter: a bar at a terminal, a line every few seconds in a file, or JSON lines."""
    if as_json:
        return JsonReporter()
    if sys.stdout.isatty():
        return BarReporter()
    return LineReporter()


class _Plain:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class LineReporter(_Plain):
    """Prints a line of text every few seconds."""

    def __init__(self) -> None:
        self._last = -LINE_S
        self._ended = False

    def __call__(self, progress: JobProgress) -> None:
        """See `Reporter`."""
        ends = progress.units == progress.all_units
        if time.monotonic() - self._last >= LINE_S or (ends and not self._ended):
            self._last, self._ended = time.monotonic(), ends
            click.echo(f"{progress.units}/{progress.all_units} metatile blocks, {describe(progress)}")


class JsonReporter(_Plain):
    """Prints one JSON object per line."""

    def __call__(self, progress: JobProgress) -> None:
        """See `Reporter`."""
        left = seconds_left(progress)
        document = asdict(progress) | {"event": "progress", "seconds_left": left and round(left, 1)}
        click.echo(json.dumps(document))


class BarReporter:
    """Shows a progress bar with rates and the remaining time."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, progress: JobProgress) -> None:
        """See `Reporter`."""
        self._progress.update(
            self._task, completed=progress.units, total=progress.all_units, description=describe(progress)
        )


def describe(progress: JobProgress) -> str:
    """Describe rates, failures and remaining time."""
    parts = [_rates(progress), f"{progress.failures} failed"]
    left = seconds_left(progress)
    return ", ".join([*parts, f"{duration(left)} left"] if left is not None else parts)


def announce(name: str, *, as_json: bool) -> None:
    """Report that all units are restored and the output file is being assembled, which may take minutes."""
    click.echo(json.dumps({"event": "writing", "output": name}) if as_json else f"writing {name} ...")


class WritingReporter:
    """Reports the share of the output that is written: a line every few seconds, or JSON lines.

    Args:
        name: name of the output.
        as_json: whether to print JSON.
    """

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._last = time.monotonic()

    def __call__(self, share: float) -> None:
        """Report a share from 0 to 1, unless the last report was just now."""
        now_s = time.monotonic()
        if now_s - self._last < LINE_S:
            return
        self._last = now_s
        document = {"event": "writing", "output": self._name, "share": round(share, 3)}
        click.echo(json.dumps(document) if self._as_json else f"writing {self._name}: {share:.0%}")


def say_complete(name: str, *, as_json: bool) -> None:
    """Report that the output is complete already."""
    if as_json:
        click.echo(json.dumps({"event": "complete", "output": name}))
    else:
        click.echo(f"{name} is complete: nothing to do", err=True)


def summarise(name: str, what: str, progress: JobProgress, nbytes: int | None, *, as_json: bool) -> None:
    """Report the end of a run: result, size and speed.

    Args:
        name: name of the output.
        what: description of the result.
        progress: of this run, at its end.
        nbytes: size of the output; None if it is not complete.
        as_json: whether to print JSON.
    """
    seconds = max(progress.seconds, 1e-3)
    if as_json:
        document = {
            "event": "stopped" if nbytes is None else "done",
            "output": name,
            "tiles": progress.tiles,
            "failures": progress.failures,
            "bytes": nbytes,
            "seconds": round(seconds, 3),
            "megapixels": round(progress.megapixels, 3),
            "megapixels_per_s": round(progress.megapixels / seconds, 3),
        }
        click.echo(json.dumps(document))
        return
    end = (
        "not finished: run the same command again to continue" if nbytes is None else f"{size(nbytes)} in all"
    )
    click.echo(f"{name}: {what} in {duration(seconds)} ({_rates(progress)}); {end}")


def _rates(progress: JobProgress) -> str:
    seconds = max(progress.seconds, 1e-3)
    tiles = f"{progress.tiles / seconds:.1f} tiles/s, " if progress.tiles else ""
    return f"{tiles}{progress.megapixels / seconds:.2f} megapixels/s"


def seconds_left(progress: JobProgress) -> float | None:
    """Estimate the remaining time from the rate of this run; None before the first unit."""
    if not progress.units_made:
        return None
    per_unit = progress.seconds / progress.units_made
    return per_unit * (progress.all_units - progress.units - progress.failures)


def duration(seconds: float) -> str:
    """Format a duration as h:mm:ss."""
    return str(datetime.timedelta(seconds=max(0, round(seconds))))


def size(nbytes: float) -> str:
    """Format a number of bytes, in powers of ten."""
    return decimal(round(nbytes))


def now() -> str:
    """Return the current time in UTC, in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
