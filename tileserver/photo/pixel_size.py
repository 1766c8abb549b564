"""Pixel size on the ground in metres, for any CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyproj
from rasterio.crs import CRS
from rasterio.warp import transform

WGS84 = CRS.from_epsg(4326)


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel on the ground, in metres: `x_m` from column to column, `y_m` from row to row."""

    x_m: float
    y_m: float

    @property
    def gsd_m(self) -> float:
        """Ground sample distance in metres: the side of a square of the same area."""
        return math.sqrt(self.x_m * self.y_m)

    def times(self, factor: float) -> PixelSize:
        """Return the size of a pixel that is `factor` times as wide and as high."""
        return PixelSize(self.x_m * factor, self.y_m * factor)


def pixel_size(
    crs: CRS, centre: tuple[float, float], column: tuple[float, float], row: tuple[float, float]
) -> PixelSize:
    """Measure a pixel along geodesics of WGS 84, which needs no special case for feet, degrees or Web Mercator.

    Args:
        crs: CRS of the other arguments.
        centre: x and y of the place to measure at.
        column: offset in x and y from one column to the next.
        row: offset in x and y from one row to the next.
    """
    # A hundred pixels are long enough for rounding not to matter, and too short for the projection to curve.
    steps = 100
    xs = [centre[0], centre[0] + steps * column[0], centre[0] + steps * row[0]]
    ys = [centre[1], centre[1] + steps * column[1], centre[1] + steps * row[1]]
    longitudes, latitudes = transform(crs, WGS84, xs, ys)[:2]
    geod = pyproj.Geod(ellps="WGS84")
    sides = [geod.inv(longitudes[0], latitudes[0], longitudes[i], latitudes[i])[2] / steps for i in (1, 2)]
    return PixelSize(sides[0], sides[1])


def horizontal_crs(crs: CRS) -> CRS:
    """Return the horizontal part of a compound CRS: heights are not used, and their grids may be missing."""
    parsed = pyproj.CRS.from_wkt(crs.to_wkt())
    if not parsed.is_compound:
        return crs
    return CRS.from_wkt(parsed.sub_crs_list[0].to_wkt())
