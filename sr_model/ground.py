"""How large a pixel is on the ground: measured in one way, in training and in serving.

What a network learnt at one pixel size it restores at that size, so both have to mean the same by it. Knows no rasters:
whoever opens files brings the function that makes longitudes and latitudes of their coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyproj

# Of many pixels in a row: far above rounding, far below the curvature of any projection.
_PIXELS: Final = 100

# xs and ys of some CRS to longitudes and latitudes of WGS 84.
ToDegrees = Callable[[Sequence[float], Sequence[float]], tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class PixelSize:
    """Ground size of a pixel in metres along its row (`x_m`) and its column (`y_m`)."""

    x_m: float
    y_m: float

    @property
    def gsd_m(self) -> float:
        """Side of a square of the same area."""
        return math.sqrt(self.x_m * self.y_m)

    def times(self, factor: float) -> PixelSize:
        """Size of a pixel that is `factor` times as wide and high."""
        return PixelSize(self.x_m * factor, self.y_m * factor)


def pixel_size(
    to_degrees: ToDegrees,
    centre: tuple[float, float],
    column: tuple[float, float],
    row: tuple[float, float],
) -> PixelSize:
    """Measure a pixel along geodesics (Karney 2013): feet, degrees and distortion are no special cases.

    Args:
        to_degrees: from the CRS that the other arguments are given in.
        centre: x and y of the place to measure at.
        column: step in x and y from one column to the next.
        row: step in x and y from one row to the next.
    """
    xs = [centre[0], centre[0] + _PIXELS * column[0], centre[0] + _PIXELS * row[0]]
    ys = [centre[1], centre[1] + _PIXELS * column[1], centre[1] + _PIXELS * row[1]]
    longitudes, latitudes = to_degrees(xs, ys)
    geod = pyproj.Geod(ellps="WGS84")
    x_m, y_m = (
        geod.inv(longitudes[0], latitudes[0], longitudes[end], latitudes[end])[2] / _PIXELS for end in (1, 2)
    )
    return PixelSize(x_m, y_m)
