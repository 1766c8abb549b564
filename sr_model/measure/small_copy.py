"""A small copy of a photograph with its own values: what borders and the range of values are found in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

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
    grown = mask.view(np.uint8)
    for axis in (0, 1):
        grown = ndimage.maximum_filter1d(grown, 2 * px + 1, axis=axis, mode="constant")
    return grown.view(np.bool_)


def deviation(values: Values, value: float) -> FloatArray:
    """Largest difference of any band from a value, float32 [height, width]; infinite where it is not a number."""
    difference: FloatArray = np.abs(values.astype(np.float32) - np.float32(value)).max(axis=2)
    return np.where(np.isnan(difference), np.float32(np.inf), difference)
