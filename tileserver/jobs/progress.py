"""Progress for people at a terminal, for logs, and for machines."""

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
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

LINE_S: Final = 5.0


@dataclass(frozen=True)
class Figures:
    """How far it is.

    Attributes:
        units, all_units: restored so far, those of an earlier run included, and wanted.
        units_made: restored in this run.
        tiles, nbytes: written in this run.
        failures: units that failed.
        megapixels: restored in this run.
        seconds: since this run began.
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
    """Counts what a run makes; its clock starts with it.

    Attributes:
        all_units: units that are wanted.
        unit_px: restored pixels of one unit.
        units_before: made by earlier runs.
        units_made, failures, tiles, nbytes: see `Figures`.
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
        """Since the run began."""
        return time.monotonic() - self._started

    def figures(self) -> Figures:
        """How far it is at the moment."""
        return Figures(
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
    """Shows how far the work is; used in a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, figures: Figures) -> None:
        """Show these figures."""


def reporter(*, as_json: bool) -> Reporter:
    """A bar at a terminal, a line every few seconds in a file, or JSON lines."""
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
    """A line of text every few seconds."""

    def __init__(self) -> None:
        self._last = -LINE_S
        self._ended = False

    def __call__(self, figures: Figures) -> None:
        """See `Reporter`."""
        ends = figures.units == figures.all_units
        if time.monotonic() - self._last >= LINE_S or (ends and not self._ended):
            self._last, self._ended = time.monotonic(), ends
            click.echo(f"{figures.units}/{figures.all_units} metatile blocks, {describe(figures)}")


class JsonReporter(_Plain):
    """A JSON object a line."""

    def __call__(self, figures: Figures) -> None:
        """See `Reporter`."""
        left = seconds_left(figures)
        document = asdict(figures) | {"event": "progress", "seconds_left": left and round(left, 1)}
        click.echo(json.dumps(document))


class BarReporter:
    """A bar with rates and the time left."""

    def __init__(self) -> None:
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, figures: Figures) -> None:
        """See `Reporter`."""
        self._progress.update(
            self._task, completed=figures.units, total=figures.all_units, description=describe(figures)
        )


def describe(figures: Figures) -> str:
    """Rates, failures and time left in words."""
    parts = [_rates(figures), f"{figures.failures} failed"]
    left = seconds_left(figures)
    return ", ".join([*parts, f"{duration(left)} left"] if left is not None else parts)


def announce(name: str, *, as_json: bool) -> None:
    """Say that pixels are done and the output is written, which may take minutes."""
    click.echo(json.dumps({"event": "writing", "output": name}) if as_json else f"writing {name} ...")


def say_complete(name: str, *, as_json: bool) -> None:
    """Say that nothing is left to do."""
    if as_json:
        click.echo(json.dumps({"event": "complete", "output": name}))
    else:
        click.echo(f"{name} is complete: nothing to do", err=True)


def summarise(name: str, what: str, figures: Figures, nbytes: int | None, *, as_json: bool) -> None:
    """The last line: what was made, how large it is, and how fast that was.

    Args:
        name: of the output.
        what: was made, for people.
        figures: of this run.
        nbytes: of the whole output; None if it is not whole yet.
        as_json: say it to a machine.
    """
    seconds = max(figures.seconds, 1e-3)
    if as_json:
        document = {
            "event": "stopped" if nbytes is None else "done",
            "output": name,
            "tiles": figures.tiles,
            "failures": figures.failures,
            "bytes": nbytes,
            "seconds": round(seconds, 3),
            "megapixels": round(figures.megapixels, 3),
            "megapixels_per_s": round(figures.megapixels / seconds, 3),
        }
        click.echo(json.dumps(document))
        return
    end = "not finished: run the same command again to go on" if nbytes is None else f"{size(nbytes)} in all"
    click.echo(f"{name}: {what} in {duration(seconds)} ({_rates(figures)}); {end}")


def _rates(figures: Figures) -> str:
    seconds = max(figures.seconds, 1e-3)
    tiles = f"{figures.tiles / seconds:.1f} tiles/s, " if figures.tiles else ""
    return f"{tiles}{figures.megapixels / seconds:.2f} megapixels/s"


def seconds_left(figures: Figures) -> float | None:
    """Time to go at the rate of this run, or None while nobody can tell."""
    if not figures.units_made:
        return None
    per_unit = figures.seconds / figures.units_made
    return per_unit * (figures.all_units - figures.units - figures.failures)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=max(0, round(seconds))))


def size(nbytes: float) -> str:
    """Bytes for people, in powers of ten."""
    return decimal(round(nbytes))


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
