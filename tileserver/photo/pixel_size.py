"""Pixel size on the ground in metres, for any CRS that rasterio knows; see `sr_model.ground`."""

from __future__ import annotations

from collections.abc import Sequence

import pyproj
from rasterio.crs import CRS
from rasterio.warp import transform

from sr_model import ground
from sr_model.ground import PixelSize

WGS84 = CRS.from_epsg(4326)


def pixel_size(
    crs: CRS, centre: tuple[float, float], column: tuple[float, float], row: tuple[float, float]
) -> PixelSize:
    """Measure a pixel; see `sr_model.ground.pixel_size`.

    Args:
        crs: CRS of the other arguments.
        centre, column, row: point to measure at, and differences in x and y between adjacent columns and rows.
    """

    def to_degrees(xs: Sequence[float], ys: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        longitudes, latitudes = transform(crs, WGS84, xs, ys)[:2]
        return longitudes, latitudes

    return ground.pixel_size(to_degrees, centre, column, row)


def horizontal_crs(crs: CRS) -> CRS:
    """Return the horizontal part of a compound CRS: heights are not used, and their grids may be missing."""
    parsed = pyproj.CRS.from_wkt(crs.to_wkt())
    if not parsed.is_compound:
        return crs
    return CRS.from_wkt(parsed.sub_crs_list[0].to_wkt())
