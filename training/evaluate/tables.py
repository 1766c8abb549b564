"""The metrics with their names and directions, and the tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.evaluate.methods import OURS
from training.evaluate.score import AGED, REAL, Score
from training.measure.bootstrap import Estimate


@dataclass(frozen=True)
class MetricInfo:
    """Name and format of a metric.

    Attributes:
        name: key in the JSON file.
        title: heading of its column.
        digits: after the point.
        best: `low`, `high`, or the value that is best.
        description: one line for the page.
    """

    name: str
    title: str
    digits: int
    best: str
    description: str


_INFOS: Final = (
    MetricInfo("rise", "rise", 2, "low", "width of the old photo's edges, 10 to 90 %, over bicubic's"),
    MetricInfo("rise_px", "rise in px", 2, "low", "the same in pixels"),
    MetricInfo("overshoot", "overshoot", 2, "low", "overshoot at the old photo's edges over bicubic's"),
    MetricInfo("overshoot_share", "overshoot of step", 3, "0", "the same as a share of the edge's step"),
    MetricInfo("rims", "rims", 2, "0", "tint along edges beyond that of smooth ground, in grey levels"),
    MetricInfo("blotches", "blotches", 2, "0", "patches of colour that no single map explains, in grey levels"),
    MetricInfo("cast", "cast", 2, "0", "chroma given to bright, neutral pixels, in grey levels"),
    MetricInfo("weave", "weave", 2, "1", "fine detail on smooth ground over the new photo's"),
    MetricInfo("features", "features", 2, "low", "feature distance to the truth over bicubic's"),
    MetricInfo("feature_distance", "feature distance", 3, "0", "the same itself, one value per judge"),
    MetricInfo("pattern", "pattern", 2, "1", "strongest regular pattern of 2, 4 or 8 px, of any origin"),
    MetricInfo("drawn_pattern", "drawn pattern", 2, "1", "the same, of the network's own additions"),
    MetricInfo("structure", "structure", 3, "high", "correlation of luma with the old photo at its own pixel size"),
    MetricInfo("structure_worst", "worst chip", 3, "high", "structure of the worst chip"),
    MetricInfo("consistency", "consistency", 3, "high", "the same correlation, of red, green and blue"),
    MetricInfo("moved_px", "moved", 2, "0", "how far things moved from where the old photo has them, in px"),
    MetricInfo("psnr_db", "PSNR", 2, "high", "equality of pixels, in dB, registered, after one map of colours"),
    MetricInfo("ssim", "SSIM", 3, "high", "equality of local structure (Wang et al. 2004)"),
    MetricInfo("improvement", "improvement", 2, "high", "share of what came nearer to the new photo (opensr-test)"),
    MetricInfo("omission", "omission", 2, "low", "share of what stayed as in the old photo (opensr-test)"),
    MetricInfo("hallucination", "hallucination", 2, "low", "share of detail that is in neither photo (opensr-test)"),
    MetricInfo("seam_difference", "seam difference", 2, "0", "grey levels between a window's edge and one around it"),
    MetricInfo("seam_gradient", "seam gradient", 3, "1", "step across the border over that in one around it"),
)  # fmt: skip
METRICS: Final = {info.name: info for info in _INFOS}
"""In the order in which they are shown."""

_SEEN: Final = ("rise", "overshoot", "rims", "blotches", "cast", "weave")
_PLACES: Final = (
    "psnr_db",
    "ssim",
    "structure",
    "structure_worst",
    "consistency",
    "improvement",
    "omission",
    "hallucination",
)


def shown(score: Score, name: str, *, interval: bool = False) -> str:
    """A metric as text, empty where it makes no sense."""
    estimate = score.estimates.get(name)
    if estimate is None:
        return ""
    text = f"{estimate.value:.{METRICS[name].digits}f}"
    return f"{text} {_between(estimate, METRICS[name].digits)}".rstrip() if interval else text


def _between(estimate: Estimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def judged_table(scores: Sequence[Score], truth: str) -> str:
    """Return the visible faults as a Markdown table; with the feature distance where the truth is known."""
    return _table(
        scores, truth, (*_SEEN, *(("features",) if truth == AGED else ("pattern", "drawn_pattern")))
    )


def places_table(scores: Sequence[Score], truth: str) -> str:
    """The metrics that compare place by place, as a Markdown table."""
    return _table([score for score in scores if "psnr_db" in score.estimates], truth, _PLACES)


def _table(scores: Sequence[Score], truth: str, names: Sequence[str]) -> str:
    rows = [
        _row(["site", "picture", *(METRICS[name].title for name in names)]),
        "|---|---|" + "--:|" * len(names),
    ]
    rows += [
        _row([score.site, score.method, *(shown(score, name) for name in names)])
        for score in scores
        if score.truth == truth
    ]
    return "\n".join(rows) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def summary(scores: Sequence[Score]) -> str:
    """Return the text for the terminal: two tables, two more for aged pairs, and the decisive intervals."""
    parts = [
        "What people see:\n\n" + judged_table(scores, REAL),
        "Place by place, registered and equal in colour:\n\n" + places_table(scores, REAL),
    ]
    if any(score.truth == AGED for score in scores):
        parts += [
            "New photos aged and compared with themselves, so that the truth is known:\n\n"
            + judged_table(scores, AGED),
            places_table(scores, AGED),
        ]
    return "\n".join([*parts, *_verdicts(scores)])


def _verdicts(scores: Sequence[Score]) -> list[str]:
    lines = []
    for score in scores:
        if score.method != OURS:
            continue
        if score.truth == AGED:
            if "features" in score.estimates:
                distance = shown(score, "features", interval=True)
                lines.append(f"{score.site}, aged: feature distance {distance} of bicubic's")
            continue
        ratios = [(name, shown(score, name, interval=True)) for name in ("rise", "overshoot")]
        told = " and ".join(f"{name} {text}" for name, text in ratios if text)
        edges = f"{told} of bicubic's" if told else "too few edges to tell how crisp they are"
        lines.append(f"{score.site}: {edges}; {score.blocks} blocks of ground")
        if "seam_gradient" in score.estimates:
            difference, gradient = shown(score, "seam_difference"), shown(score, "seam_gradient")
            lines.append(f"{score.site}: seams {difference} grey levels, step across them x {gradient}")
    return lines
