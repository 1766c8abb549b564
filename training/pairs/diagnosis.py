"""What may be wrong with two photographs of which few or no chips are left for training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from training.data.manifest import Chip
from training.errors import PairError
from training.pairs.grid import Common, Grid
from training.pairs.selection import CHANGED, FLAT, LOW_CONFIDENCE, NODATA, RESIDUAL_SHIFT, WARPED, plan_chips

# Fewer training chips than this are soon learnt by heart.
FEW: Final = 48
# Pixels of the old photo this many times as large as the chips' hold too little to restore.
_MOST_RATIO: Final = 4.0
# What a network is good for; the ratio that is proposed instead.
_GOOD_RATIO: Final = 3.0
_LEAST_CHIP_PX: Final = 64
_LITTLE_SHARED: Final = 0.25
# Where two windows show different ground, one correlation surface in twenty has a peak of 5.3.
_CHANCE: Final = 6.0
# Difference in excess green (Woebbecke et al. 1995): 0.10 between bare farmland and the same in leaf, 0.01 between two
# photographs of a valley in other light.
_SEASON: Final = 0.06
_SAMPLE: Final = 24


def diagnose(folder: Path, chips: Sequence[Chip], common: Common, max_shift_m: float) -> list[str]:
    """Sentences about what may be wrong, the likeliest first; none where enough chips are left.

    Args:
        folder: of the pairs, where the pictures of chips lie that were cut.
        chips: all, dropped ones too.
        common: grid of the photographs and how much of their ground both show.
        max_shift_m: longest shift that was looked for.
    """
    count = sum(chip.split == "train" for chip in chips)
    if count >= FEW:
        return []
    grid, other = common.grid, _other_ground(chips, max_shift_m)
    found = [
        _ratio(grid),
        _overlap(common),
        other,
        _turned(chips),
        "" if other else _empty(chips),
        _season(folder, chips),
    ]
    sentences = [sentence for sentence in found if sentence]
    return [*sentences, _few(grid, count)] if count else sentences or [_nothing(chips)]


def _ratio(grid: Grid) -> str:
    ratio = grid.old_gsd_m / grid.gsd_m
    if ratio <= _MOST_RATIO:
        return ""
    gsd_m = float(f"{grid.old_gsd_m / _GOOD_RATIO:.2g}")
    size_px = max(_LEAST_CHIP_PX, round(grid.size_px * grid.gsd_m / gsd_m))
    step_px = max(_LEAST_CHIP_PX // 4, round(grid.step_px * grid.gsd_m / gsd_m))
    way_out = f"use --gsd {gsd_m:g} --size {size_px} --step {step_px}"
    if not _has_room(grid, gsd_m, size_px, step_px):
        way_out = "take photographs that share more ground, or a finer old one"
    return (
        f"the old photo's pixels ({grid.old_gsd_m:.3g} m) are {ratio:.1f} times as large as the chips' "
        f"({grid.gsd_m:.3g} m), and hold too little to be restored to these: "
        f"{way_out}"
    )


def _has_room(grid: Grid, gsd_m: float, size_px: int, step_px: int) -> bool:
    """Whether other chips on the same ground leave some for training beside those for validation."""
    larger = gsd_m / grid.gsd_m
    columns, rows = (
        (int(((count - 1) * grid.step_px + grid.size_px) / larger) - size_px) // step_px + 1
        for count in (grid.columns, grid.rows)
    )
    if columns < 1 or rows < 1:
        return False
    wanted = replace(
        grid,
        pixel=grid.pixel * larger,
        gsd_m=gsd_m,
        size_px=size_px,
        step_px=step_px,
        columns=columns,
        rows=rows,
    )
    try:
        plan_chips(wanted, None, None)
    except PairError:
        return False
    return True


def _overlap(common: Common) -> str:
    shared = max(common.shared)
    if shared >= _LITTLE_SHARED:
        return ""
    return (
        f"little overlap: only {shared:.0%} of the smaller photograph's ground is shown by both; take photographs that "
        "share more, or check their CRS"
    )


def _other_ground(chips: Sequence[Chip], max_shift_m: float) -> str:
    confidences = [chip.confidence for chip in chips if chip.reason not in (NODATA, FLAT)]
    if not confidences or float(np.median(confidences)) >= _CHANCE:
        return ""
    return (
        f"other ground? Half of the chips have a confidence under {np.median(confidences):.1f}, which two photographs "
        f"of different ground have too: check that both show the same place and lie within {max_shift_m:g} m of each "
        "other (--max-shift); in woods and across seasons, edges may be too few"
    )


def _turned(chips: Sequence[Chip]) -> str:
    seen = [chip for chip in chips if chip.reason not in (NODATA, FLAT)]
    sure = [chip for chip in seen if chip.confidence >= _CHANCE]
    off = [chip for chip in sure if chip.reason in (WARPED, RESIDUAL_SHIFT)]
    if not seen or len(sure) < len(seen) / 2 or len(off) < len(sure) / 2:
        return ""
    return (
        f"turned or stretched: {len(off)} of {len(seen)} chips lie on the old photo with certainty, and not squarely; "
        "georeference it again, with more control points, or use a smaller --size"
    )


def _empty(chips: Sequence[Chip]) -> str:
    empty = [chip for chip in chips if chip.reason in (NODATA, FLAT)]
    if len(empty) < len(chips) / 2:
        return ""
    return (
        f"{len(empty)} of {len(chips)} chips show no ground in one photograph (nodata, black or one colour): "
        "use a smaller --size, or photographs that share more ground"
    )


def _season(folder: Path, chips: Sequence[Chip]) -> str:
    cut = [chip for chip in chips if (folder / "new" / f"{chip.name}.png").is_file()]
    sample = cut[:: max(1, len(cut) // _SAMPLE)]
    if not sample:
        return ""
    old, new = (
        float(np.median([_green(folder / side / f"{chip.name}.png") for chip in sample]))
        for side in ("old", "new")
    )
    if not abs(new - old) >= _SEASON:  # nor where one is black and white
        return ""
    leaves, bare = ("new", "old") if new > old else ("old", "new")
    return (
        f"another season: the {leaves} photo is green where the {bare} one is not, and many edges differ; "
        "take photographs of one season if there are any, or a lower --drop-changed"
    )


def _green(path: Path) -> float:
    """Excess green of a picture, NaN for a black and white one."""
    with Image.open(path) as picture:
        rgb = np.asarray(picture.convert("RGB"), np.float32)
    if np.ptp(rgb, axis=2).max() == 0:
        return math.nan
    red, green, blue = rgb.mean((0, 1)).tolist()
    return float((2 * green - red - blue) / max(red + green + blue, 1.0))


def _few(grid: Grid, count: int) -> str:
    half_px = max(_LEAST_CHIP_PX // 4, grid.step_px // 2)
    left = f"{count} chips are" if count > 1 else "one chip is"
    return (
        f"only {left} left for training, which a network soon knows by heart: overlap them with "
        f"--step {half_px}, choose a smaller --size, or train on more ground"
    )


def _nothing(chips: Sequence[Chip]) -> str:
    """Where no rule tells why, what most chips say."""
    reasons = [chip.reason for chip in chips if chip.split == "dropped"]
    often = max(set(reasons), key=reasons.count)
    ways_out = {
        LOW_CONFIDENCE: "raise --max-shift, lower --min-confidence, or check that both show the same ground",
        WARPED: "georeference the old photo again: it is turned or stretched against the new",
        RESIDUAL_SHIFT: "georeference the old photo again, with more control points",
        CHANGED: "lower --drop-changed",
    }
    return f"{reasons.count(often)} of {len(chips)} chips are '{often}': {ways_out.get(often, 'use a smaller --size')}"
