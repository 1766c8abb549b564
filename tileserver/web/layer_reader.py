"""A layer as rio-tiler reads it, so that titiler's routes work for every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import attr
import mercantile
import numpy as np
from morecantile import TileMatrixSet
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.features import bounds as shape_bounds
from rasterio.features import geometry_mask
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject, transform, transform_bounds, transform_geom
from rio_tiler.constants import WEB_MERCATOR_CRS, WEB_MERCATOR_TMS
from rio_tiler.io.base import BaseReader
from rio_tiler.models import BandStatistics, ImageData, Info, PointData

from sr_model import PixelWindow, fill_nodata
from tileserver.errors import BadParameterError, OutsideError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.pixel_size import WGS84
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.grid import BBox, TileAddress
from tileserver.tiling.layer import WEB_MERCATOR, Layer
from tileserver.tiling.raster import Raster

_BANDS: Final = ("red", "green", "blue")
# A picture that needs more metatiles is made of overviews instead.
MAX_METATILES: Final = 16
# Pixels that may be read for every one of the largest picture.
MAX_OVERSAMPLING: Final = 4
# Far more than any CRS reaches, in metres, feet or degrees; arithmetic with it is still exact enough.
_FARTHEST: Final = 1e9
# Where the only tile of zoom 0 ends.
_MERCATOR_LATITUDE: Final = mercantile.bounds(0, 0, 0).north
_DEFAULT_PX: Final = 1024
# Around what is wanted: bilinear interpolation may look at them.
_CONTEXT_PX: Final = 2
# What GDAL raises where a CRS has no such place, and Python where numbers are too large.
_MISFITS: Final = (RasterioError, ValueError, OverflowError)


@dataclass(frozen=True)
class LayerInput:
    """What a `LayerReader` opens: never a path or an address."""

    service: TileService
    layer: Layer


@attr.s
class LayerReader(BaseReader):
    """LayerRasters of one layer for any rectangle, made of the same pixels as its tiles."""

    input: LayerInput = attr.ib()
    tms: TileMatrixSet = attr.ib(default=WEB_MERCATOR_TMS)

    def __attrs_post_init__(self) -> None:
        """Take extent and CRS from the layer's photograph."""
        self._view: View = self.input.service.rasters.view(self.input.layer, WEB_MERCATOR)
        info = self._view.source.info
        self.bounds, self.crs = info.bounds, info.crs
        if self._view.bounds_lonlat != info.bounds_lonlat:
            served = BBox(*transform_bounds(WGS84, info.crs, *self._view.bounds_lonlat, densify_pts=21))
            self.bounds = served.intersection(info.bounds) or info.bounds
        self.width, self.height = info.width, info.height
        self.transform = from_bounds(*info.bounds, info.width, info.height)

    @property
    def _own_view(self) -> View:
        return self.input.service.rasters.view(self.input.layer, str(self.tms.id))

    @property
    def minzoom(self) -> int:
        """First useful zoom of the reader's tile matrix set."""
        return self._own_view.pyramid.min_zoom

    @property
    def maxzoom(self) -> int:
        """Last useful zoom that the reader's tile matrix set defines; tiles may go on beyond it."""
        return min(self._own_view.pyramid.max_zoom, int(self.tms.maxzoom))

    def info(self) -> Info:
        """What the layer consists of: three bands of 8 bits, whatever the photograph has."""
        source = self._view.source.info
        # Validated, since the fields that rio-tiler adds for rasters are no part of its model.
        document = {
            "bounds": source.bounds,
            "crs": source.crs.to_wkt(),
            "band_metadata": [(f"b{number}", {}) for number in (1, 2, 3)],
            "band_descriptions": [(f"b{number}", name) for number, name in enumerate(_BANDS, 1)],
            "dtype": "uint8",
            "colorinterp": list(_BANDS),
            "nodata_type": "Mask",
            "count": 3,
            "width": source.width,
            "height": source.height,
            "gsd_m": round(source.pixel.gsd_m, 4),
            "overviews": list(source.overviews),
        }
        return Info.model_validate(document)

    def tile(self, tile_x: int, tile_y: int, tile_z: int, **_: Any) -> ImageData:
        """One tile as an array."""
        view, window = self._own_view, TileAddress(tile_z, tile_x, tile_y).window
        raster = self.input.service.raster(self.input.layer, str(self.tms.id), tile_z, window)
        return _image(raster, view.pyramid.grid.bounds(tile_z, window), view.crs)

    def part(
        self,
        bbox: tuple[float, float, float, float],
        dst_crs: CRS | None = None,
        bounds_crs: CRS = WGS84,
        max_size: int | None = None,
        height: int | None = None,
        width: int | None = None,
        **_: Any,
    ) -> ImageData:
        """A rectangle as a picture of bounded size.

        Args:
            bbox: left, bottom, right, top in `bounds_crs`.
            dst_crs: CRS of the picture; `bounds_crs` if not given.
            bounds_crs: CRS of `bbox`.
            max_size: longest side in pixels, where neither `height` nor `width` is given.
            height: of the picture in pixels.
            width: of the picture in pixels.

        Raises:
            BadParameterError: no rectangle, a picture that is too large, or a CRS that does not fit.
            OutsideError: the rectangle shows nothing of the photograph.
        """
        target_crs = dst_crs or bounds_crs
        target = _project(bounds_crs, target_crs, bbox)
        ground = _project(target_crs, self._view.crs, target)
        columns, rows = self._size(target, ground, max_size, width, height)
        zoom, window = self._choose_window(ground, columns, rows)
        raster = self.input.service.raster(self.input.layer, WEB_MERCATOR, zoom, window)
        return _warp(raster, self._view, zoom, target_crs, target, (columns, rows))

    def preview(
        self,
        max_size: int | None = _DEFAULT_PX,
        height: int | None = None,
        width: int | None = None,
        dst_crs: CRS | None = None,
        **_: Any,
    ) -> ImageData:
        """The whole photograph."""
        return self.part(self.bounds, dst_crs, self.crs, max_size, height, width)

    def statistics(self, **kwargs: Any) -> dict[str, BandStatistics]:
        """Statistics of the preview's bands."""
        statistics: dict[str, BandStatistics] = self.preview().statistics(**kwargs)
        return statistics

    def point(self, lon: float, lat: float, coord_crs: CRS = WGS84, **_: Any) -> PointData:
        """The colour at a place, at the native zoom.

        Raises:
            OutsideError: the photograph has no pixel there.
        """
        pyramid, zoom = self._view.pyramid, self._view.pyramid.native_zoom
        try:
            with gdal_errors():
                xs, ys = transform(coord_crs, self._view.crs, [lon], [lat])[:2]
        except _MISFITS as error:
            raise BadParameterError(
                "the coordinates do not fit their CRS: give lon,lat in degrees"
            ) from error
        if not _within_reach(lon, lat, xs[0], ys[0]):
            raise BadParameterError("the coordinates do not fit their CRS: give lon,lat in degrees")
        left, bottom, right, top = pyramid.served
        if not (left <= xs[0] <= right and bottom <= ys[0] <= top):
            raise OutsideError("the photograph has no pixel at this place")
        pixel = pyramid.grid.covering(zoom, BBox(xs[0], ys[0], xs[0], ys[0]))
        raster = self.input.service.raster(self.input.layer, WEB_MERCATOR, zoom, pixel)
        if raster.is_empty:
            raise OutsideError("the photograph has no pixel at this place")
        return PointData(
            np.ma.MaskedArray(raster.rgb[0, 0]),
            band_names=["b1", "b2", "b3"],
            coordinates=(lon, lat),
            crs=coord_crs,
        )

    def feature(
        self,
        shape: dict[str, Any],
        dst_crs: CRS | None = None,
        shape_crs: CRS = WGS84,
        **kwargs: Any,
    ) -> ImageData:
        """The rectangle around a GeoJSON feature, with everything outside of it hidden."""
        geometry = shape.get("geometry", shape)
        target_crs = dst_crs or shape_crs
        try:
            if target_crs != shape_crs:
                with gdal_errors():
                    geometry = transform_geom(shape_crs, target_crs, geometry)
            bounds = shape_bounds(geometry)
        except (*_MISFITS, LookupError, TypeError, AttributeError) as error:
            raise BadParameterError("this is no GeoJSON polygon in the given CRS") from error
        sizes = {name: kwargs.get(name) for name in ("max_size", "height", "width")}
        image = self.part(bounds, target_crs, target_crs, **sizes)
        outside = geometry_mask([geometry], (image.height, image.width), image.transform)
        image.array = np.ma.MaskedArray(image.array.data, image.array.mask | outside)
        return image

    def _size(
        self, target: BBox, ground: BBox, max_size: int | None, width: int | None, height: int | None
    ) -> tuple[int, int]:
        """Columns and rows of a picture."""
        most = self.input.service.settings.max_image_px
        if any(size is not None and not 1 <= size <= most for size in (max_size, width, height)):
            raise BadParameterError(
                f"a picture has 1 to {most} pixels on a side: ask for a smaller one, or for tiles"
            )
        aspect = target.width / target.height
        if not 1e-6 <= aspect <= 1e6:
            raise BadParameterError("the rectangle is too narrow for a picture: give a wider one")
        if width or height:
            columns = width or round((height or 1) * aspect)
            rows = height or round((width or 1) / aspect)
        else:
            native = self._view.pyramid.grid.covering(self._view.pyramid.native_zoom, ground)
            longest = min(max_size or most, max(native.width, native.height))
            columns, rows = (
                (longest, round(longest / aspect)) if aspect > 1 else (round(longest * aspect), longest)
            )
        return min(max(columns, 1), most), min(max(rows, 1), most)

    def _choose_window(self, ground: BBox, columns: int, rows: int) -> tuple[int, PixelWindow]:
        """The coarsest zoom that has as many pixels as the picture, and the window to read there."""
        pyramid = self._view.pyramid
        clipped = ground.intersection(pyramid.served)
        if clipped is None:
            raise OutsideError("the rectangle is outside the photograph: see the TileJSON's bounds")
        # A trifle more, so that the rectangle of a tile is read at the tile's own zoom.
        wanted_cell = 1.000001 * min(ground.width / columns, ground.height / rows)
        zoom = next(
            (z for z in range(pyramid.max_zoom) if pyramid.grid.cell(z) <= wanted_cell), pyramid.max_zoom
        )
        most = MAX_OVERSAMPLING * self.input.service.settings.max_image_px**2
        while zoom > 0 and pyramid.grid.covering(zoom, clipped).area_px > most:
            zoom -= 1
        if zoom >= pyramid.min_metatile_zoom:
            pieces = list(pyramid.pieces(zoom, pyramid.grid.covering(zoom, clipped).grown(_CONTEXT_PX)))
            if len(pieces) > MAX_METATILES and self.input.layer not in ("old", "new"):
                zoom = pyramid.min_metatile_zoom - 1
        return zoom, pyramid.grid.covering(zoom, clipped).grown(_CONTEXT_PX)


def _within_reach(*coordinates: float) -> bool:
    """Whether they are numbers that anything can be at."""
    return all(abs(value) <= _FARTHEST for value in coordinates)


def _project(source: CRS, target: CRS, bbox: tuple[float, float, float, float]) -> BBox:
    """Bounds in another CRS.

    Raises:
        BadParameterError: they are no rectangle there.
    """
    try:
        left, bottom, right, top = bbox
        if source.is_geographic and target == WEB_MERCATOR_CRS:
            # Its poles are infinitely far away.
            bottom, top = max(bottom, -_MERCATOR_LATITUDE), min(top, _MERCATOR_LATITUDE)
        if source != target:
            with gdal_errors():
                left, bottom, right, top = transform_bounds(
                    source, target, left, bottom, right, top, densify_pts=21
                )
    except _MISFITS as error:
        raise BadParameterError("the rectangle cannot be expressed in that CRS") from error
    if not (_within_reach(left, bottom, right, top) and left < right and bottom < top):
        raise BadParameterError("this is no rectangle: give minx,miny,maxx,maxy in the order of the CRS")
    return BBox(left, bottom, right, top)


def _image(raster: Raster, bounds: BBox, crs: CRS) -> ImageData:
    hidden = np.broadcast_to(raster.mask == 0, (3, *raster.mask.shape))
    return ImageData(np.ma.MaskedArray(np.moveaxis(raster.rgb, 2, 0), hidden), bounds=bounds, crs=crs)


def _warp(
    raster: Raster, view: View, zoom: int, target_crs: CRS, target: BBox, size: tuple[int, int]
) -> ImageData:
    """Bring pixels of a zoom's grid onto the picture's own grid."""
    columns, rows = size
    grids = {
        "src_crs": view.crs,
        "src_transform": from_bounds(
            *view.pyramid.grid.bounds(zoom, raster.window), raster.window.width, raster.window.height
        ),
        "dst_crs": target_crs,
        "dst_transform": from_bounds(*target, columns, rows),
    }
    data, mask = np.zeros((3, rows, columns), np.uint8), np.zeros((rows, columns), np.uint8)
    # Filled, so that interpolation at the edge of the data does not mix in black.
    planes = np.ascontiguousarray(np.moveaxis(fill_nodata(raster.rgb, raster.mask), 2, 0))
    reproject(planes, data, resampling=Resampling.bilinear, **grids)
    reproject(raster.mask, mask, resampling=Resampling.nearest, **grids)
    return ImageData(
        np.ma.MaskedArray(data, np.broadcast_to(mask == 0, data.shape)), bounds=target, crs=target_crs
    )
