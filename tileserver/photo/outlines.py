"""Polygons of GeoJSON files: the ground that a photograph covers, and ground that must not be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import shapely
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_geom
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from tileserver.errors import SettingsError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.pixel_size import WGS84

# Straight lines in longitude and latitude are curves in other CRSs: each side becomes this many segments.
_PIECES: Final = 64


def read_polygons(path: Path, option: str) -> BaseGeometry:
    """Read the polygons of a GeoJSON file (RFC 7946), in degrees.

    Args:
        path: the file.
        option: name of the option that names it, for messages.

    Raises:
        SettingsError: the file is not GeoJSON in degrees, or has no polygon.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = [shape(geometry) for geometry in _geometries(document)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SettingsError(
            f"{option} {path} is not GeoJSON ({error}): export the area from your GIS, in WGS 84"
        ) from error
    polygons = [one for one in found if one.geom_type in ("Polygon", "MultiPolygon") and not one.is_empty]
    if not polygons:
        raise SettingsError(
            f"{option} {path} has no polygons: draw the area as polygons, and export it in WGS 84"
        )
    union = shapely.union_all([shapely.make_valid(one) for one in polygons])
    west, south, east, north = union.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise SettingsError(
            f"{option} {path} is not in degrees of WGS 84, as GeoJSON must be: export it again"
        )
    return union


def project(geometry: BaseGeometry, crs: CRS, option: str) -> BaseGeometry:
    """Project polygons in degrees to a CRS.

    Raises:
        SettingsError: they extend beyond it.
    """
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


def _geometries(document: dict[str, Any]) -> list[dict[str, Any]]:
    kind = document["type"]
    if kind == "FeatureCollection":
        return [feature["geometry"] for feature in document["features"] if feature["geometry"]]
    if kind == "GeometryCollection":
        return list(document["geometries"])
    return [document["geometry"] if kind == "Feature" else document]
