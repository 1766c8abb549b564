"""A small copy of a photograph with its own values: what borders and the range of values are found in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Values = np.ndarray[Any, Any]
Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

# Longest side of the copy, in pixels.
LONGEST_PX: Final = 2048


@dataclass(frozen=True, eq=False)
class SmallCopy:
    """Values of the whole photograph, reduced.

    Attributes:
        values: [height, width, bands] of the photograph's dtype.
        valid: bool [height, width]; False where the file itself hides the photograph, or a value is not finite.
        factor: by how much it is reduced, as (down, across); 1.0 is full size.
    """

    values: Values
    valid: Mask
    factor: tuple[float, float]

    @property
    def is_full_size(self) -> bool:
        """Whether it is the photograph itself."""
        return self.factor == (1.0, 1.0)


def level_of_copy(shape: tuple[int, int], overviews: Sequence[int]) -> int | None:
    """The overview that a copy is made from: the coarsest that is large enough; None for the photograph itself.

    Args:
        shape: rows and columns of the photograph.
        overviews: their factors.
    """
    longest = max(shape)
    levels = [number for number, factor in enumerate(overviews) if longest >= LONGEST_PX // 2 * factor]
    return max(levels) if longest > LONGEST_PX and levels else None


def shape_of_copy(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a copy that is made from a raster of this shape."""
    reduced = max(1.0, max(shape) / LONGEST_PX)
    return math.ceil(shape[0] / reduced) or 1, math.ceil(shape[1] / reduced) or 1


def where_valid(values: Values, nodata: float | None, mask: Mask | None) -> Mask:
    """Where a photograph shows something, bool [height, width].

    A pixel has the nodata value if all of its bands have it.

    Args:
        values: [height, width, bands].
        nodata: the value without a picture, or None.
        mask: bool [height, width], what an alpha band or a mask of the file shows; None without one.
    """
    valid: Mask = np.ones(values.shape[:2], np.bool_)
    if nodata is not None:
        missing = np.isnan(values) if math.isnan(nodata) else np.equal(values, nodata)
        valid &= ~np.logical_and.reduce(missing, axis=2)
    if mask is not None:
        valid &= mask
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values).all(axis=2)
    return valid


def spread(region: Mask, window: tuple[int, int, int, int], factor: tuple[float, float]) -> Mask:
    """A window (row, column, height, width) of full size of what is marked in a small copy."""
    row, column, height, width = window
    rows = np.minimum(((row + np.arange(height)) / factor[0]).astype(int), region.shape[0] - 1)
    columns = np.minimum(((column + np.arange(width)) / factor[1]).astype(int), region.shape[1] - 1)
    marked: Mask = region[np.ix_(rows, columns)]
    return marked


def dilated(mask: Mask, px: int) -> Mask:
    """A mask grown by so many pixels in each direction, diagonals too."""
    # Rows, then columns, and each time as far as the last growth leaves no gap: a tenth of the time of a filter.
    grown: Mask = mask.copy()
    for axis in (0, 1):
        reach = 0
        while reach < px:
            step = min(2 * reach + 1, px - reach)
            before, along = grown.copy().swapaxes(0, axis), grown.swapaxes(0, axis)
            along[step:] |= before[:-step]
            along[:-step] |= before[step:]
            reach += step
    return grown


def opened(mask: Mask, px: int) -> Mask:
    """A mask without those of its parts that are narrower than 2 px + 1; what is beyond the edge is not in it."""
    beyond = np.pad(~mask, px, constant_values=True)
    kept = ~dilated(beyond, px)[px:-px, px:-px]
    return dilated(kept, px)


def lowest_and_highest(values: Values) -> tuple[Values, Values]:
    """The lowest and the highest band of every pixel, [height, width] each, of [height, width, bands]."""
    # Band by band: a reduction over the last axis takes ten times as long.
    low = high = values[..., 0]
    for band in range(1, values.shape[2]):
        low, high = np.minimum(low, values[..., band]), np.maximum(high, values[..., band])
    return low, high


def deviation(values: Values, value: float) -> FloatArray:
    """Largest difference of any band from a value, float32 [height, width]; infinite where it is not a number."""
    difference: FloatArray | None = None
    for band in range(values.shape[2]):
        one = np.abs(values[..., band].astype(np.float32) - np.float32(value))
        difference = one if difference is None else np.maximum(difference, one, out=difference)
    assert difference is not None, "a photograph has a band"
    if np.issubdtype(values.dtype, np.floating):
        difference[np.isnan(difference)] = np.inf
    return difference
