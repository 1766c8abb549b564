"""What the figures are called, which way is better, and the tables that a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.evaluate.methods import OURS
from training.evaluate.score import AGED, REAL, Score
from training.measure.bootstrap import Figure


@dataclass(frozen=True)
class Named:
    """How a figure is shown.

    Attributes:
        name: key in the JSON file.
        title: heading of its column.
        digits: after the point.
        best: `low`, `high`, or the value that is best.
        says: one line for the page.
    """

    name: str
    title: str
    digits: int
    best: str
    says: str


FIGURES: Final = (
    Named("texture_distance", "texture distance", 3, "low", "how unlike the new photo's textures, colours made equal"),
    Named("texture_to_bicubic", "texture over bicubic's", 2, "low", "texture distance over that of bicubic"),
    Named("high_frequency", "high frequencies", 2, "1", "energy of fine detail over the new photo's"),
    Named("pattern", "pattern", 2, "1", "strongest regular pattern of 2, 4 or 8 px, whoever drew it"),
    Named("drawn_pattern", "drawn pattern", 2, "1", "the same, of what the network drew itself"),
    Named("structure", "structure", 3, "high", "correlation of luma with the old photo at its own pixel size"),
    Named("structure_worst", "worst chip", 3, "high", "structure of the worst chip"),
    Named("consistency", "consistency", 3, "high", "the same correlation, of red, green and blue"),
    Named("moved_px", "moved", 2, "0", "how far things moved from where the old photo has them, in px"),
    Named("psnr_db", "PSNR", 2, "high", "equality of pixels, in dB, registered and equal in colour"),
    Named("ssim", "SSIM", 3, "high", "equality of local structure (Wang et al. 2004)"),
    Named("perceptual", "perceptual", 3, "low", "difference of features, like LPIPS without learnt weights"),
    Named("improvement", "improvement", 2, "high", "share of what came nearer to the new photo (opensr-test)"),
    Named("omission", "omission", 2, "low", "share of what stayed as in the old photo (opensr-test)"),
    Named("hallucination", "hallucination", 2, "low", "share of what is in neither photo (opensr-test)"),
    Named("seam_difference", "seam difference", 2, "0", "grey levels from a window's edge to a window centred there"),
    Named("seam_gradient", "seam gradient", 3, "1", "step across the border over that in a window centred there"),
)  # fmt: skip
NAMED: Final = {figure.name: figure for figure in FIGURES}

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
    """A figure as text, empty where it makes no sense."""
    figure = score.figures.get(name)
    if figure is None:
        return ""
    text = f"{figure.value:.{NAMED[name].digits}f}"
    return f"{text} {_between(figure, NAMED[name].digits)}".rstrip() if interval else text


def _between(figure: Figure, digits: int) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def table(scores: Sequence[Score]) -> str:
    """The first five figures of real pairs as a Markdown table."""
    titles = [NAMED[name].title for name in _TEXTURE[:-1]]
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
    """The figures that compare place by place, as a Markdown table."""
    rows = [
        _row(["site", "picture", *(NAMED[name].title for name in _PLACES)]),
        "|---|---|" + "--:|" * len(_PLACES),
    ]
    rows += [
        _row([score.site, score.method, *(shown(score, name) for name in _PLACES)])
        for score in scores
        if score.truth == truth and "psnr_db" in score.figures
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
        if "seam_gradient" in score.figures:
            difference, gradient = shown(score, "seam_difference"), shown(score, "seam_gradient")
            lines.append(f"{score.site}: seams {difference} grey levels, step across them x {gradient}")
    return lines
