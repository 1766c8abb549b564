"""The size of pixels on the ground, measured the same way in training and in serving.

A network restores photographs at the pixel size that it was trained on, so both must measure it alike. This module
does not depend on rasterio: callers pass a function that converts coordinates to longitudes and latitudes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyproj

# Length of the measured lines, in pixels: long enough for rounding, and short enough for the projection's curvature.
_PIXELS: Final = 100

# Converts xs and ys of a CRS to longitudes and latitudes of WGS 84.
ToDegrees = Callable[[Sequence[float], Sequence[float]], tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel on the ground.

    Attributes:
        x_m, y_m: width and height in metres.
    """

    x_m: float
    y_m: float

    @property
    def gsd_m(self) -> float:
        """Ground sample distance in metres: side of the square with the same area."""
        return math.sqrt(self.x_m * self.y_m)

    def times(self, factor: float) -> PixelSize:
        """Return the size of a pixel that is `factor` times as wide and high."""
        return PixelSize(self.x_m * factor, self.y_m * factor)


def pixel_size(
    to_degrees: ToDegrees,
    centre: tuple[float, float],
    column: tuple[float, float],
    row: tuple[float, float],
) -> PixelSize:
    """Measure a pixel along geodesics (Karney 2013), which accounts for feet, degrees and distortion alike.

    Args:
        to_degrees: converts from the CRS of the other arguments.
        centre: x and y of the point to measure at.
        column: difference in x and y between adjacent columns.
        row: difference in x and y between adjacent rows.
    """
    xs = [centre[0], centre[0] + _PIXELS * column[0], centre[0] + _PIXELS * row[0]]
    ys = [centre[1], centre[1] + _PIXELS * column[1], centre[1] + _PIXELS * row[1]]
    longitudes, latitudes = to_degrees(xs, ys)
    geod = pyproj.Geod(ellps="WGS84")
    x_m, y_m = (
        geod.inv(longitudes[0], latitudes[0], longitudes[end], latitudes[end])[2] / _PIXELS for end in (1, 2)
    )
    return PixelSize(x_m, y_m)
