"""The ground that is wanted: a rectangle or a GeoJSON area, cut to the photograph."""

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

# Straight lines of longitude and latitude bend in other CRSs: they are cut into this many pieces a side.
_PIECES = 64


class Area:
    """Wanted ground in units of a grid's CRS.

    Args:
        wanted: a polygon or several; None for the whole photograph.
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
                "the area shows nothing of the photograph: orthosharp info tells its west south east north"
            )
        shapely.prepare(self._shape)

    @property
    def bounds(self) -> BBox:
        """The smallest rectangle around it."""
        return BBox(*self._shape.bounds)

    @property
    def shape(self) -> BaseGeometry:
        """The polygon itself."""
        return self._shape

    def touches(self, bounds: BBox) -> bool:
        """Whether the rectangle shows any of the area; a common border is not enough."""
        left, bottom, right, top = bounds
        # Far less than a pixel of any tile.
        slack = 1e-6 * bounds.width
        return bool(self._shape.intersects(box(left + slack, bottom + slack, right - slack, top - slack)))

    def covers(self, bounds: BBox) -> bool:
        """Whether the whole rectangle is inside the area."""
        return bool(self._shape.covers(box(*bounds)))


def wanted_bbox(text: str, crs: CRS) -> BaseGeometry:
    """A polygon from 'W,S,E,N' in degrees.

    Raises:
        SettingsError: it is no rectangle.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--bbox {text!r} is not W,S,E,N in degrees, such as -74.5,42.5,-74.4,42.6"
        ) from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise SettingsError(
            f"--bbox {text!r} is no rectangle: give west,south,east,north in degrees, in this order"
        )
    return _projected(box(west, south, east, north), crs, "--bbox")


def wanted_area(path: Path, crs: CRS) -> BaseGeometry:
    """The polygons of a GeoJSON file, in degrees (RFC 7946).

    Raises:
        SettingsError: there are none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        shapes = [shape(geometry) for geometry in _geometries(document)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SettingsError(
            f"--area {path} is no GeoJSON ({error}): export one in WGS 84 from your GIS"
        ) from error
    polygons = [one for one in shapes if one.geom_type in ("Polygon", "MultiPolygon") and not one.is_empty]
    if not polygons:
        raise SettingsError(
            f"--area {path} has no polygon: draw the area as polygons and export it in WGS 84"
        )
    union = shapely.union_all([shapely.make_valid(one) for one in polygons])
    west, south, east, north = union.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise SettingsError(
            f"--area {path} is not in degrees of WGS 84, as GeoJSON has to be: export it again"
        )
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
        # It has no poles.
        geometry = geometry.intersection(box(-180, -85.06, 180, 85.06))
    west, south, east, north = geometry.bounds
    dense = shapely.segmentize(geometry, max(east - west, north - south) / _PIECES)
    try:
        with gdal_errors():
            projected = shape(transform_geom(WGS84, crs, mapping(dense)))
    except (RasterioError, ValueError) as error:
        raise SettingsError(f"{option} reaches beyond the tile matrix set: give a smaller one") from error
    return shapely.make_valid(projected)
