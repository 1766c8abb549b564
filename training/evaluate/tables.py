"""What the metrics are called, which way is better, and the tables that a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.evaluate.methods import OURS
from training.evaluate.score import AGED, REAL, Score
from training.measure.bootstrap import Estimate


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is shown.

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
    MetricInfo("texture_distance", "texture distance", 3, "low", "distance from the new photo's textures; no colours"),
    MetricInfo("texture_to_bicubic", "texture over bicubic's", 2, "low", "texture distance over that of bicubic"),
    MetricInfo("high_frequency", "high frequencies", 2, "1", "energy of fine detail over the new photo's"),
    MetricInfo("pattern", "pattern", 2, "1", "strongest regular pattern of 2, 4 or 8 px, whoever drew it"),
    MetricInfo("drawn_pattern", "drawn pattern", 2, "1", "the same, of what the network drew itself"),
    MetricInfo("structure", "structure", 3, "high", "correlation of luma with the old photo at its own pixel size"),
    MetricInfo("structure_worst", "worst chip", 3, "high", "structure of the worst chip"),
    MetricInfo("consistency", "consistency", 3, "high", "the same correlation, of red, green and blue"),
    MetricInfo("moved_px", "moved", 2, "0", "how far things moved from where the old photo has them, in px"),
    MetricInfo("psnr_db", "PSNR", 2, "high", "equality of pixels, in dB, registered and equal in colour"),
    MetricInfo("ssim", "SSIM", 3, "high", "equality of local structure (Wang et al. 2004)"),
    MetricInfo("perceptual", "perceptual", 3, "low", "difference of features, like LPIPS without learnt weights"),
    MetricInfo("improvement", "improvement", 2, "high", "share of what came nearer to the new photo (opensr-test)"),
    MetricInfo("omission", "omission", 2, "low", "share of what stayed as in the old photo (opensr-test)"),
    MetricInfo("hallucination", "hallucination", 2, "low", "share of what is in neither photo (opensr-test)"),
    MetricInfo("seam_difference", "seam difference", 2, "0", "grey levels between a window's edge and one around it"),
    MetricInfo("seam_gradient", "seam gradient", 3, "1", "step across the border over that in one around it"),
)  # fmt: skip
METRICS: Final = {info.name: info for info in _INFOS}
"""In the order in which they are shown."""

_TEXTURE: Final = ("texture_distance", "high_frequency", "pattern", "drawn_pattern", "structure")
_PLACES: Final = (
    "psnr_db",
    "ssim",
    "perceptual",
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


def table(scores: Sequence[Score]) -> str:
    """The first five metrics of real pairs as a Markdown table."""
    titles = [METRICS[name].title for name in _TEXTURE[:-1]]
    rows = [_row(["site", "picture", *titles, "structure (worst chip)"]), "|---|---|--:|--:|--:|--:|--:|"]
    for score in scores:
        if score.truth != REAL:
            continue
        structure = f"{shown(score, 'structure')} ({shown(score, 'structure_worst')})"
        cells = [shown(score, name) for name in _TEXTURE[:-1]]
        rows.append(_row([score.site, score.method, *cells, structure]))
    return "\n".join(rows) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def places_table(scores: Sequence[Score], truth: str) -> str:
    """The metrics that compare place by place, as a Markdown table."""
    rows = [
        _row(["site", "picture", *(METRICS[name].title for name in _PLACES)]),
        "|---|---|" + "--:|" * len(_PLACES),
    ]
    rows += [
        _row([score.site, score.method, *(shown(score, name) for name in _PLACES)])
        for score in scores
        if score.truth == truth and "psnr_db" in score.estimates
    ]
    return "\n".join(rows) + "\n"


def summary(scores: Sequence[Score]) -> str:
    """What the terminal shows: two tables, a third for aged pairs, and the intervals that decide."""
    parts = [
        "Like the new photo, and true to the old one:\n\n" + table(scores),
        "Place by place, registered and equal in colour:\n\n" + places_table(scores, REAL),
    ]
    if any(score.truth == AGED for score in scores):
        parts.append(
            "New photos aged and compared with themselves, so that the truth is known:\n\n"
            + places_table(scores, AGED)
        )
    return "\n".join([*parts, *_verdicts(scores)])


def _verdicts(scores: Sequence[Score]) -> list[str]:
    lines = []
    for score in scores:
        if score.method != OURS or score.truth != REAL:
            continue
        distance = shown(score, "texture_to_bicubic", interval=True)
        lines.append(
            f"{score.site}: texture distance {distance} of bicubic's; {score.blocks} blocks of ground"
        )
        if "seam_gradient" in score.estimates:
            difference, gradient = shown(score, "seam_difference"), shown(score, "seam_gradient")
            lines.append(f"{score.site}: seams {difference} grey levels, step across them x {gradient}")
    return lines
