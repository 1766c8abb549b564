"""Cubic resampling of an array at the positions of a smooth mapping, as GDAL's warper does it, in a third of its time.

Over a window of a photograph the mapping from one grid to another is smooth: exact positions on a coarse grid, and
straight lines between them, are as good as the position of every pixel. The kernel is Keys' with a = -0.5 (1981,
"Cubic convolution interpolation for digital image processing"), which GDAL calls cubic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.windows import PixelWindow

FloatArray = npt.NDArray[np.float64]
# From columns and rows of the target to those of the source, both float64 [n] and counted from the upper left corner.
Mapping = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

# Side of a cell of the coarse grid, in pixels of the target, and the smallest that is tried.
CELL_PX: Final = 64
SMALLEST_CELL_PX: Final = 8
# Largest error of a position in pixels of the source. The next window's cells lie elsewhere: at this error, fewer than
# one pixel in 1000 differs between them, by one grey level.
TOLERANCE_PX: Final = 1e-4
# The kernel reads so many pixels before that of a position, and so many after it.
BEFORE_PX: Final = 1
AFTER_PX: Final = 2
# Types that are computed in float32 without loss, and rounded as GDAL does.
DTYPES: Final = ("uint8", "uint16", "float32")
# Four channels of float32 are one vector of the processor.
_LANES: Final = 4


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions in the source of the centres of a target's pixels, straight lines along the rows of each cell.

    Attributes:
        cell_px: width of the cells.
        shape: height and width of the target.
        nodes: float64 [2, height, cells + 1]; column and row in the source of the centre of each cell's first pixel in
            every row, and of the pixel after the last. Whole numbers are the centres of the source's pixels.
    """

    cell_px: int
    shape: tuple[int, int]
    nodes: FloatArray

    @property
    def reach(self) -> PixelWindow:
        """The pixels of the source that the kernel reads."""
        (left, top), (right, bottom) = np.floor(self.nodes.min((1, 2))), np.floor(self.nodes.max((1, 2)))
        return PixelWindow.between(
            int(left) - BEFORE_PX, int(top) - BEFORE_PX, int(right) + AFTER_PX + 1, int(bottom) + AFTER_PX + 1
        )


def find_positions(mapping: Mapping, shape: tuple[int, int]) -> Positions | None:
    """Sample a mapping on a coarse grid that is fine enough.

    Args:
        mapping: exact positions; not finite where there are none.
        shape: height and width of the target.

    Returns:
        The positions; None if the mapping is not smooth, or has no positions somewhere in the target.
    """
    cell = CELL_PX
    while cell >= SMALLEST_CELL_PX:
        ys, xs = (_edges(length, cell) for length in shape)
        corners = _sample(mapping, ys, xs)
        middles = _sample(mapping, (ys[1:] + ys[:-1]) / 2, (xs[1:] + xs[:-1]) / 2)
        if not (np.isfinite(corners).all() and np.isfinite(middles).all()):
            return None
        straight = (corners[:, 1:] + corners[:, :-1]) / 2
        straight = (straight[:, :, 1:] + straight[:, :, :-1]) / 2
        if np.abs(straight - middles).max() <= TOLERANCE_PX:
            return Positions(cell, shape, _by_row(corners, ys, shape[0]))
        cell //= 2
    return None


def _edges(length: int, cell: int) -> FloatArray:
    """Where cells begin along one side of the target, and the last ends: numbers of pixels."""
    return np.append(np.arange(0.0, length, cell), length)


def _sample(mapping: Mapping, ys: FloatArray, xs: FloatArray) -> FloatArray:
    """Positions float64 [2, len(ys), len(xs)] of all pairs, from pixel centre to pixel centre."""
    columns, rows = np.meshgrid(xs, ys)
    found = mapping(columns.ravel() + 0.5, rows.ravel() + 0.5)
    return np.stack([values.reshape(columns.shape) for values in found]) - 0.5


def _by_row(corners: FloatArray, ys: FloatArray, height: int) -> FloatArray:
    """Interpolate float64 [2, len(ys), n] to every row of pixels: [2, height, n]."""
    row = np.arange(height)
    above = np.searchsorted(ys, row, "right") - 1
    share = ((row - ys[above]) / (ys[above + 1] - ys[above]))[:, None]
    between: FloatArray = corners[:, above] * (1 - share) + corners[:, above + 1] * share
    return between


def resample(source: npt.NDArray[Any], origin: tuple[int, int], positions: Positions) -> npt.NDArray[Any]:
    """Resample a source whose pixels are all valid and finite.

    Args:
        source: [height, width, bands] with up to four bands of a type in `DTYPES`; covers `positions.reach`.
        origin: column and row of the source's first pixel, in the pixels that positions are counted in.
        positions: of the target's pixels.

    Returns:
        The target, [height, width, bands] of the source's type.

    Raises:
        ValueError: the source does not cover the positions, or has another type or more bands.
    """
    height, width, bands = source.shape
    reach = positions.reach.shifted(-origin[0], -origin[1])
    if source.dtype.name not in DTYPES or bands > _LANES:
        raise ValueError(
            f"{bands} bands of {source.dtype}: at most {_LANES} of {', '.join(DTYPES)} are resampled"
        )
    if reach.x < 0 or reach.y < 0 or reach.right > width or reach.bottom > height:
        raise ValueError(f"the kernel reads {reach}, and the source has {width} x {height} pixels")
    lanes = np.zeros((height, width, _LANES), np.float32)
    lanes[..., :bands] = source
    target = np.empty((*positions.shape, bands), source.dtype)
    columns, rows = positions.nodes - np.array(origin, float)[:, None, None]
    kernel = _kernel()
    given = lanes.reshape(-1), width, columns, rows, positions.cell_px
    if source.dtype.kind == "f":
        kernel.resample_floats(*given, target)
    else:
        kernel.resample_integers(*given, int(np.iinfo(source.dtype).max), target)
    return target


def warm_up() -> None:
    """Compile or load the kernel for photographs of 8 bits, so that the first window does not wait for it."""
    positions = find_positions(lambda xs, ys: (xs + 2, ys + 2), (8, 8))
    assert positions is not None
    resample(np.zeros((16, 16, 3), np.uint8), (0, 0), positions)


@cache
def _kernel() -> Any:
    """The module of the compiled kernel; imported at its first use, since numba takes a third of a second."""
    return import_module("sr_model.resampling_kernel")
