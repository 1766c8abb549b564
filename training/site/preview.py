"""The page of a run: what is done, curves, pictures and the time left; a browser reads it again as the run goes on."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sr_model.atomic import write_atomic
from training.fit.config import CONFIG
from training.fit.module import Batch, RestorationModule
from training.fit.validation import SCORES
from training.fit.validation import SHEETS as FIT_SHEETS
from training.pages import render
from training.progress import time_in_words

PAGE: Final = "index.html"
# Seconds between two writings of the page, and between two readings by a browser.
_EVERY_S: Final = 5.0
_REFRESH_S: Final = 10
# Of a curve's drawing; more points than these are thinned.
_WIDTH, _HEIGHT, _POINTS = 200, 70, 300

STEPS: Final = {
    "plan": "look at both photographs, and try this machine",
    "pairs": "cut registered pairs of chips",
    "ageing": "measure how the old photograph is aged",
    "fit": "train from the bundled network",
    "evaluation": "compare on the kept block",
    "sheets": "draw blind sheets",
    "export": "write the weights",
}


@dataclass
class Curve:
    """A drawing of one figure over the steps."""

    title: str
    points: str
    first: str
    last: str


class Preview:
    """Writes the page of a run."""

    def __init__(self, run: Path, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._title, self._clock = run, title, clock
        self._written_s = -_EVERY_S
        self._facts: list[str] = []
        self._left_s: dict[str, float] = {}
        self._states: dict[str, str] = dict.fromkeys(STEPS, "")
        self._now = ""
        self._verdict: dict[str, Any] | None = None
        self._rate: tuple[int, float] | None = None

    def tell(self, facts: Sequence[str], left_s: dict[str, float]) -> None:
        """Show what was planned: sentences, and seconds by step."""
        self._facts, self._left_s = list(facts), dict(left_s)

    def begin(self, step: str) -> None:
        """A step begins."""
        self._now, self._states[step] = step, "at work"
        self.write()

    def end(self, step: str, said: str = "done") -> None:
        """A step is done."""
        self._states[step] = said
        self._left_s.pop(step, None)
        self._now = ""
        self.write()

    def judge(self, verdict: dict[str, Any]) -> None:
        """Show the verdict, `Verdict.as_json`."""
        self._verdict = verdict

    def report(self, stage: str, done: int, total: int) -> None:
        """A `Report` of the step that is under way."""
        self._states[self._now] = f"{stage}: {done} of {total}"
        if self._clock() - self._written_s >= _EVERY_S:
            self.write()

    def after_step(self, module: RestorationModule, _batch: Batch) -> None:
        """After each step of training."""
        if self._rate is None:
            self._rate = module.step, self._clock()
        since, began_s = self._rate
        if module.step > since:
            step_s = (self._clock() - began_s) / (module.step - since)
            self._left_s["fit"] = step_s * (module.config.steps - module.step)
        self.report("step", module.step, module.config.steps)

    def write(self) -> None:
        """Write the page."""
        self._written_s = self._clock()
        left_s = sum(self._left_s.values())
        finished = all(self._states[step] and step != self._now for step in STEPS)
        page = render(
            "site.html",
            title=self._title,
            facts=self._facts,
            steps=[(STEPS[name], name, state) for name, state in self._states.items()],
            finished=finished,
            refresh_s=_REFRESH_S,
            left="" if finished or not self._left_s else time_in_words(left_s),
            written=time.strftime("%Y-%m-%d %H:%M:%S"),
            verdict=self._verdict,
            curves=_curves(self._run / "fit"),
            size=(_WIDTH, _HEIGHT),
            sheets=_sheets(self._run / "fit"),
            links=[(name, text) for name, text in _LINKS.items() if (self._run / name).is_file()],
        )
        write_atomic(self._run / PAGE, page.encode())


_LINKS: Final = {
    "pairs/report.html": "the pairs: kept, dropped, and why",
    "evaluation.html": "every figure, with intervals and pictures",
    "sheets/index.html": "blind sheets, for eyes that have not seen the key",
}


def _sheets(fit: Path) -> list[tuple[str, str]]:
    """The first and the latest sheet: path from the run's folder, and the step."""
    found = sorted((fit / FIT_SHEETS).glob("step_*.png"))
    shown = [found[0], found[-1]] if len(found) > 1 else found
    return [
        (f"fit/{FIT_SHEETS}/{path.name}", str(int(path.stem.removeprefix("step_"))))
        for path in reversed(shown)
    ]


def _curves(fit: Path) -> list[Curve]:
    """Feature distance and structure at each look, then each term of the loss."""
    if not (fit / CONFIG).is_file():
        return []
    looks = _lines(fit / SCORES)
    figures: dict[str, dict[int, float]] = {
        "feature distance over bicubic's, at the looks": {
            look["step"]: look["feature_distance"] for look in looks
        },
        "agreement with the old photo, at the looks": {look["step"]: look["structure"] for look in looks},
    }
    figures |= _terms(fit / "metrics")
    return [_curve(title, values) for title, values in figures.items() if values]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _terms(folder: Path) -> dict[str, dict[int, float]]:
    """Loss in all, and term by term, by step; what followed a resumption replaces what a stop lost."""
    merged: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("from_*/metrics.csv"), key=lambda path: int(path.parent.name[5:])):
        with path.open() as file:
            for row in csv.DictReader(file):
                found = {
                    name.removeprefix("loss/"): float(text)
                    for name, text in row.items()
                    if name and name.startswith("loss/") and text
                }
                if found:
                    merged[int(row["step"])] = found
    terms: dict[str, dict[int, float]] = {"loss in all": {}}
    for step in sorted(merged):
        terms["loss in all"][step] = sum(merged[step].values())
        for name, value in merged[step].items():
            terms.setdefault(f"loss: {name}", {})[step] = value
    return terms


def _curve(title: str, values: dict[int, float]) -> Curve:
    steps = sorted(values)[:: max(1, len(values) // _POINTS)]
    low, high = min(values.values()), max(values.values())
    last = max(steps)
    points = " ".join(
        f"{_WIDTH * step / max(last, 1):.1f},{_HEIGHT * (1 - (values[step] - low) / max(high - low, 1e-12)):.1f}"
        for step in steps
    )
    return Curve(title, points, f"{values[steps[0]]:.4g}", f"{values[last]:.4g}")
