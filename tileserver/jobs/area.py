"""The area of a job: a rectangle or a GeoJSON area, clipped to the photograph."""

from __future__ import annotations

from pathlib import Path

import shapely
from rasterio.crs import CRS
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from tileserver.errors import SettingsError
from tileserver.photo.outlines import project, read_polygons
from tileserver.tiling.grid import BBox


class Area:
    """The ground to process, in units of a grid's CRS.

    Args:
        wanted: one or more polygons; None for the whole photograph.
        extent: ground of the photograph.

    Raises:
        SettingsError: the area misses the photograph.
    """

    def __init__(self, wanted: BaseGeometry | None, extent: BBox) -> None:
        photograph = box(*extent)
        self.is_whole = wanted is None or wanted.covers(photograph)
        self._shape: BaseGeometry = photograph
        if wanted is not None and not self.is_whole:
            self._shape = wanted.intersection(photograph)
        if self._shape.area <= 0:
            raise SettingsError(
                "the area does not intersect the photograph: orthosharp info prints its bounds"
            )
        shapely.prepare(self._shape)

    @property
    def bounds(self) -> BBox:
        """Bounding box of the area."""
        return BBox(*self._shape.bounds)

    @property
    def shape(self) -> BaseGeometry:
        """The area as a geometry."""
        return self._shape

    def touches(self, bounds: BBox) -> bool:
        """Return whether a rectangle intersects the area; a shared border does not count."""
        left, bottom, right, top = bounds
        # Much less than a pixel of any tile.
        slack = 1e-6 * bounds.width
        return bool(self._shape.intersects(box(left + slack, bottom + slack, right - slack, top - slack)))

    def covers(self, bounds: BBox) -> bool:
        """Return whether a rectangle lies entirely inside the area."""
        return bool(self._shape.covers(box(*bounds)))


def wanted_bbox(text: str, crs: CRS) -> BaseGeometry:
    """Convert 'W,S,E,N' in degrees into a polygon in the CRS.

    Raises:
        SettingsError: the text is not a rectangle.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--bbox {text!r} is not W,S,E,N in degrees, such as -74.5,42.5,-74.4,42.6"
        ) from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise SettingsError(
            f"--bbox {text!r} is not a rectangle: give west,south,east,north in degrees, in this order"
        )
    return project(box(west, south, east, north), crs, "--bbox")


def wanted_area(path: Path, crs: CRS) -> BaseGeometry:
    """Read the polygons of a GeoJSON file (RFC 7946), and project them to the CRS.

    Raises:
        SettingsError: the file is not GeoJSON in degrees, or has no polygon.
    """
    return project(read_polygons(path, "--area"), crs, f"--area {path}")
