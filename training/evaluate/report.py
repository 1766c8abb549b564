"""One HTML page about an evaluation, with its pictures inside: what one sees, and every metric with its interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.restorer import Restorer
from training.evaluate.judge import ChosenJudge
from training.evaluate.methods import BICUBIC, OURS
from training.evaluate.options import EvaluateOptions
from training.evaluate.score import (
    AGED,
    REAL,
    Ground,
    Networks,
    Score,
    aged_ground,
    real_ground,
    validation,
)
from training.evaluate.tables import METRICS, MetricInfo, shown
from training.fit.kinds import scale_in_words
from training.measure.bootstrap import CONFIDENCE, Estimate
from training.pages import PICTURE_PX, data_url, render

UInt8Array = npt.NDArray[np.uint8]

_CARDS: Final = ("rise", "overshoot", "rims", "blotches", "cast", "consistency", "hallucination")
# In units of the drawings.
_AXIS_LEFT, _AXIS_WIDTH, _ROW = 104, 168, 18
_TITLES: Final = {BICUBIC: "old, bicubic", OURS: "restored (orthosharp)"}


@dataclass(frozen=True)
class _Dot:
    """A row of a drawing: an estimate and its interval."""

    method: str
    y: float
    x: float
    low: float | None
    high: float | None
    text: str
    ours: bool


@dataclass(frozen=True)
class _Drawing:
    metric: MetricInfo
    dots: list[_Dot]
    height: int
    mark: float | None


def evaluation_page(
    restorer: Restorer,
    folders: Sequence[Path],
    scores: Sequence[Score],
    options: EvaluateOptions,
    rows: int,
    owners: Sequence[str],
    judge: ChosenJudge,
    beside: Networks | None = None,
) -> str:
    """The page as text; it needs no other file and no network.

    Args:
        restorer: the network, which makes its pictures once more.
        folders: sites.
        scores: of these sites, with the same options.
        options: baselines, seed.
        rows: chips per site that are shown, spread over the block; the worst comes on top.
        owners: whose pictures, one per site.
        judge: of the feature distance.
        beside: other networks that were scored, by name.
    """
    sites = [
        _site(
            restorer,
            folder,
            [score for score in scores if score.site == folder.name],
            options,
            rows,
            owner,
            beside,
        )
        for folder, owner in zip(folders, owners, strict=True)
    ]
    return render(
        "evaluation.html",
        spec=restorer.spec,
        scale=scale_in_words(restorer.spec),
        digest=restorer.digest,
        judge=judge.sentence,
        sites=sites,
        confidence=round(100 * CONFIDENCE),
        draws=options.draws,
        metrics=METRICS.values(),
        axis=(_AXIS_LEFT, _AXIS_WIDTH),
        row=_ROW,
    )


def _site(
    restorer: Restorer,
    folder: Path,
    scores: Sequence[Score],
    options: EvaluateOptions,
    rows: int,
    owner: str,
    beside: Networks | None,
) -> dict[str, Any]:
    chips = [chip.name for chip in validation(folder)[1]]
    spread = np.linspace(0, len(chips) - 1, min(rows, len(chips))).round().astype(int)
    worst = {score.truth: score.worst_chip for score in scores if score.method == OURS}
    names = [chips[i] for i in spread]
    real = real_ground(restorer, folder, options.baselines, {*names, *worst.values()}, beside)
    grounds = [real, *([aged_ground(restorer, real, options, beside)] if AGED in worst else [])]
    parts = [
        {
            "truth": ground.truth,
            "drawings": _drawings([score for score in scores if score.truth == ground.truth]),
            "table": _table([score for score in scores if score.truth == ground.truth]),
            "shelves": _shelves(ground, names, worst[ground.truth]),
        }
        for ground in grounds
    ]
    ours = next(score for score in scores if score.method == OURS and score.truth == REAL)
    return {
        "name": folder.name,
        "owner": owner,
        "chips": ours.chips,
        "blocks": ours.blocks,
        "cards": [
            (METRICS[name].title, shown(ours, name), _ends(ours, name))
            for name in _CARDS
            if name in ours.estimates
        ],
        "parts": parts,
    }


def _ends(score: Score, name: str) -> str:
    """The interval of a metric, without its value."""
    found = re.search(r"\((.+)\)", shown(score, name, interval=True))
    return found[1] if found else ""


def _shelves(ground: Ground, names: Sequence[str], worst: str) -> list[dict[str, Any]]:
    """Rows of pictures; the same ground in every way."""
    index = {chip.name: i for i, chip in enumerate(ground.chips)}
    order = [(worst, "where most is in neither photo"), *((name, "") for name in names if name != worst)]
    return [
        {
            "name": name,
            "note": note,
            "pictures": [
                (_TITLES.get(method, method), data_url(_middle(pictures[index[name]])))
                for method, pictures in ground.pictures.items()
            ],
        }
        for name, note in order
    ]


def _middle(picture: UInt8Array) -> UInt8Array:
    """The middle at full size, so that detail shows."""
    top, left = (max((side - PICTURE_PX) // 2, 0) for side in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + PICTURE_PX, left : left + PICTURE_PX])


def _drawings(scores: Sequence[Score]) -> list[_Drawing]:
    """For every metric that two ways have: dots and intervals on one scale."""
    drawings = []
    for metric in METRICS.values():
        rows = [(score, score.estimates[metric.name]) for score in scores if metric.name in score.estimates]
        if len(rows) > 1 and any(estimate.low is not None for _, estimate in rows):
            drawings.append(_drawing(metric, rows))
    return drawings


def _drawing(metric: MetricInfo, rows: Sequence[tuple[Score, Estimate]]) -> _Drawing:
    ends = [
        value
        for _, estimate in rows
        for value in (estimate.value, estimate.low, estimate.high)
        if value is not None
    ]
    best = None if metric.best in ("low", "high") else float(metric.best)
    ends += [] if best is None else [best]
    least, most = min(ends), max(ends)
    width = max(most - least, 1e-9)

    def place(value: float) -> float:
        return round(_AXIS_LEFT + _AXIS_WIDTH * (value - least) / width, 1)

    dots = [
        _Dot(
            method=score.method,
            y=(index + 0.5) * _ROW,
            x=place(estimate.value),
            low=None if estimate.low is None else place(estimate.low),
            high=None if estimate.high is None else place(estimate.high),
            text=shown(score, metric.name),
            ours=score.method == OURS,
        )
        for index, (score, estimate) in enumerate(rows)
    ]
    return _Drawing(metric, dots, len(rows) * _ROW, None if best is None else place(best))


def _table(scores: Sequence[Score]) -> dict[str, Any]:
    """Every metric of every way, metrics down and ways across."""
    rows = [
        (metric.title, [shown(score, metric.name, interval=True) for score in scores])
        for metric in METRICS.values()
        if any(metric.name in score.estimates for score in scores)
    ]
    return {"head": [score.method for score in scores], "rows": rows}
