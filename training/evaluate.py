"""Weights against rivals on validation chips: a table, JSON and a comparison sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from sr_model.restorer import Restorer
from training.dataset import Pair, load_pairs
from training.errors import DatasetError
from training.metrics import (
    TextureFeatures,
    drawn_pattern_ratio,
    high_frequency_ratio,
    kernel_distance,
    patches,
    pattern_ratio,
    structure_kept,
)
from training.pairs import read_site

UInt8Array = npt.NDArray[np.uint8]

# Left out at a chip's edge, where the network sees no context; a multiple of every stride and of the periods.
_EDGE_PX: Final = 32
_SHEET_PX: Final = 320
# Phases of the network's grid at which a pattern of its own is looked for, and on how many chips.
_PHASES_PX: Final = ((0, 0), (1, 6), (2, 3), (3, 1), (4, 4), (5, 7), (6, 2), (7, 5))
_PHASE_CHIPS: Final = 16


@dataclass(frozen=True)
class Score:
    """One way to make the picture, on one site; only the network can draw a pattern of its own."""

    site: str
    method: str
    texture_distance: float
    high_frequency: float
    pattern: float
    drawn_pattern: float | None
    structure: float
    structure_worst: float


def unsharp(rgb: UInt8Array) -> UInt8Array:
    """The usual unsharp mask: radius 2 px, 150 %."""
    return np.asarray(
        Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(radius=2, percent=150, threshold=0))
    )


def restore_chip(restorer: Restorer, rgb: UInt8Array) -> UInt8Array:
    """Restore the largest part of a chip whose sides are multiples of the stride; without context at its edge."""
    stride = restorer.spec.stride
    height, width = (side // stride * stride for side in rgb.shape[:2])
    restored: UInt8Array = restorer.restore(np.ascontiguousarray(rgb[None, :height, :width]))[0]
    return restored


def _inner(rgb: UInt8Array, stride: int) -> UInt8Array:
    height, width = (side // stride * stride - _EDGE_PX for side in rgb.shape[:2])
    return rgb[_EDGE_PX:height, _EDGE_PX:width]


def _methods(restorer: Restorer, pairs: Sequence[Pair]) -> dict[str, list[UInt8Array]]:
    stride = restorer.spec.stride
    made = {
        "bicubic": [pair.old for pair in pairs],
        "unsharp mask": [unsharp(pair.old) for pair in pairs],
        "orthosharp": [restore_chip(restorer, pair.old) for pair in pairs],
        "new photo": [pair.new for pair in pairs],
    }
    return {
        name: [_inner(picture[..., :3], stride) for picture in pictures] for name, pictures in made.items()
    }


def _drawn_pattern(restorer: Restorer, pairs: Sequence[Pair]) -> float:
    """Restore some chips at several phases of the network's grid and cut them to their common ground."""
    chosen = [pairs[i] for i in sorted({round(i) for i in np.linspace(0, len(pairs) - 1, _PHASE_CHIPS)})]
    last = max(max(phase) for phase in _PHASES_PX)
    aligned = []
    for y, x in _PHASES_PX:
        made = [_inner(restore_chip(restorer, pair.old[y:, x:]), restorer.spec.stride) for pair in chosen]
        aligned.append([picture[last - y :, last - x :] for picture in made])
    sides = [min(picture.shape[axis] for pictures in aligned for picture in pictures) for axis in (0, 1)]
    return drawn_pattern_ratio(
        [[picture[: sides[0], : sides[1]] for picture in pictures] for pictures in aligned]
    )


def evaluate_site(restorer: Restorer, folder: Path, features: TextureFeatures) -> list[Score]:
    """Score the network, bicubic and unsharp mask, and the new photo itself, on a site's validation chips.

    Raises:
        DatasetError: the folder has no validation chips.
    """
    pairs = load_pairs([folder], "validation")
    if not pairs:
        raise DatasetError(
            f"{folder.name} has no validation chips: make the pairs with a larger --validation block"
        )
    site = read_site(folder)
    ratio = site["old_gsd_m"] / site["gsd_m"]
    made = _methods(restorer, pairs)
    truth = features(patches(made["new photo"]))
    scores = []
    for method, pictures in made.items():
        kept = [
            structure_kept(picture, old, ratio)
            for picture, old in zip(pictures, made["bicubic"], strict=True)
        ]
        scores.append(
            Score(
                site=folder.name,
                method=method,
                texture_distance=kernel_distance(features(patches(pictures)), truth),
                high_frequency=high_frequency_ratio(pictures, made["new photo"]),
                pattern=pattern_ratio(pictures),
                drawn_pattern=_drawn_pattern(restorer, pairs) if method == "orthosharp" else None,
                structure=float(np.mean(kept)),
                structure_worst=float(np.min(kept)),
            )
        )
    return scores


def table(scores: Sequence[Score]) -> str:
    """Scores as a Markdown table."""
    rows = [
        "| site | picture | texture distance | high frequencies | pattern | drawn pattern | structure (worst chip) |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {s.site} | {s.method} | {s.texture_distance:.3f} | {s.high_frequency:.2f} | {s.pattern:.2f} "
        f"| {'' if s.drawn_pattern is None else f'{s.drawn_pattern:.2f}'} "
        f"| {s.structure:.3f} ({s.structure_worst:.3f}) |"
        for s in scores
    ]
    return "\n".join(rows) + "\n"


def comparison_sheet(
    restorer: Restorer, folders: Sequence[Path], rows: int, credit: Sequence[str]
) -> Image.Image:
    """A picture with a row per chip, spread over the validation blocks: bicubic, unsharp mask, restored, new.

    Args:
        restorer: the network.
        folders: sites.
        rows: chips per site.
        credit: one per site, printed on its rows.
    """
    strips = []
    for folder, owner in zip(folders, credit, strict=True):
        pairs = load_pairs([folder], "validation")
        chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).round().astype(int)]
        made = _methods(restorer, chosen)
        strips += [(f"{pair.name}   {owner}", [made[m][i] for m in made]) for i, pair in enumerate(chosen)]
    return _draw(strips, ("old, bicubic", "unsharp mask", "restored", "new"))


def _draw(strips: Sequence[tuple[str, Sequence[UInt8Array]]], titles: Sequence[str]) -> Image.Image:
    gap, text = 4, 16
    sheet = Image.new(
        "RGB", (len(titles) * (_SHEET_PX + gap) - gap, text + len(strips) * (_SHEET_PX + gap + text)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((column * (_SHEET_PX + gap) + 2, 2), title, fill="black")
    for row, (label, pictures) in enumerate(strips):
        top = text + row * (_SHEET_PX + gap + text)
        for column, picture in enumerate(pictures):
            start = (picture.shape[0] - _SHEET_PX) // 2
            part = picture[start : start + _SHEET_PX, start : start + _SHEET_PX]
            sheet.paste(Image.fromarray(part), (column * (_SHEET_PX + gap), top))
        pen.text((2, top + _SHEET_PX + 2), label, fill="black")
    return sheet
