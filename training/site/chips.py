"""The size of a site's chips: as large as the site allows, so that there are enough of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from training.data.manifest import Bounds
from training.errors import PairError
from training.pairs.grid import Grid
from training.pairs.make import PairOptions
from training.pairs.selection import plan_chips

# From the largest on; below the last a network sees too little around a pixel, and judges do too.
SIZES_PX: Final = (500, 400, 320, 250, 192, 128)
# Chips for training that are enough, with some to spare for those that are dropped; and for validation.
_ENOUGH: Final = (64, 12)
# More chips than these teach little more, and cost time and disk.
_MOST: Final = 2000


@dataclass(frozen=True)
class ChipPlan:
    """The chips of a site before any is looked at.

    Attributes:
        size_px, step_px: side of a chip, and from one to the next.
        max_shift_m: longest shift that such chips can be registered at.
        train, validation: how many there are.
    """

    size_px: int
    step_px: int
    max_shift_m: float
    train: int
    validation: int


def plan_for(grid: Grid, validation: Bounds | None) -> ChipPlan:
    """The largest chips of which there are enough, or else those of which there are most.

    Args:
        grid: of the site, with chips of any size.
        validation: block that is kept, in the grid's CRS; None is the southern fifth.

    Raises:
        PairError: the site is too small for any.
    """
    plans: list[ChipPlan] = []
    for size_px in SIZES_PX:
        try:
            plans.append(_plan(grid, size_px, validation))
        except PairError:
            continue
        if plans[-1].train >= _ENOUGH[0] and plans[-1].validation >= _ENOUGH[1]:
            return plans[-1]
    if not plans:
        # Say what is wrong with the smallest.
        return _plan(grid, SIZES_PX[-1], validation)
    return max(plans, key=lambda plan: min(plan.train, 8 * plan.validation))


def _plan(grid: Grid, size_px: int, validation: Bounds | None) -> ChipPlan:
    step_px = size_px // 2
    sized = resized(grid, size_px, step_px)
    if (many := sized.columns * sized.rows) > _MOST:
        # Side by side first, then with gaps between them.
        step_px = math.ceil(step_px * math.sqrt(many / _MOST))
        sized = resized(grid, size_px, step_px)
    splits = list(plan_chips(sized, None, validation).values())
    # Half a chip is the longest shift that registration looks for.
    most_m = 0.49 * size_px * grid.gsd_m
    return ChipPlan(
        size_px,
        step_px,
        round(min(PairOptions.max_shift_m, most_m), 2),
        splits.count("train"),
        splits.count("validation"),
    )


def resized(grid: Grid, size_px: int, step_px: int) -> Grid:
    """The same ground in chips of another size.

    Raises:
        PairError: it is smaller than one.
    """
    columns, rows = (
        ((count - 1) * grid.step_px + grid.size_px - size_px) // step_px + 1
        for count in (grid.columns, grid.rows)
    )
    if columns < 1 or rows < 1:
        raise PairError(
            f"the photographs overlap on less than one chip of {size_px} px: check their CRS, or take larger ones"
        )
    return replace(grid, columns=columns, rows=rows, size_px=size_px, step_px=step_px)
