"""The area of a job: a rectangle or a GeoJSON area, clipped to the photograph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import shapely
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_geom
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from tileserver.errors import SettingsError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.pixel_size import WGS84
from tileserver.tiling.grid import BBox

# Straight lines in longitude and latitude are curves in other CRSs: each side becomes this many segments.
_PIECES = 64


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
    return _projected(box(west, south, east, north), crs, "--bbox")


def wanted_area(path: Path, crs: CRS) -> BaseGeometry:
    """Read the polygons of a GeoJSON file (RFC 7946), and project them to the CRS.

    Raises:
        SettingsError: the file is not GeoJSON in degrees, or has no polygon.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        shapes = [shape(geometry) for geometry in _geometries(document)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SettingsError(
            f"--area {path} is not GeoJSON ({error}): export the area from your GIS, in WGS 84"
        ) from error
    polygons = [one for one in shapes if one.geom_type in ("Polygon", "MultiPolygon") and not one.is_empty]
    if not polygons:
        raise SettingsError(
            f"--area {path} has no polygons: draw the area as polygons, and export it in WGS 84"
        )
    union = shapely.union_all([shapely.make_valid(one) for one in polygons])
    west, south, east, north = union.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise SettingsError(f"--area {path} is not in degrees of WGS 84, as GeoJSON must be: export it again")
    return _projected(union, crs, f"--area {path}")


def _geometries(document: dict[str, Any]) -> list[dict[str, Any]]:
    kind = document["type"]
    if kind == "FeatureCollection":
        return [feature["geometry"] for feature in document["features"] if feature["geometry"]]
    if kind == "GeometryCollection":
        return list(document["geometries"])
    return [document["geometry"] if kind == "Feature" else document]


def _projected(geometry: BaseGeometry, crs: CRS, option: str) -> BaseGeometry:
    if crs.is_geographic:
        return geometry
    if crs.to_epsg() == 3857:
        # Web Mercator cannot represent the poles.
        geometry = geometry.intersection(box(-180, -85.06, 180, 85.06))
    west, south, east, north = geometry.bounds
    dense = shapely.segmentize(geometry, max(east - west, north - south) / _PIECES)
    try:
        with gdal_errors():
            projected = shape(transform_geom(WGS84, crs, mapping(dense)))
    except (RasterioError, ValueError) as error:
        raise SettingsError(f"{option} extends beyond the tile matrix set: give a smaller area") from error
    return shapely.make_valid(projected)
