"""A rio-tiler reader for one layer, through which titiler's routes (preview, bbox, point, feature) serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import attr
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
from tileserver.tiling.raster import DIFFERENCE_GAIN, NO_DIFFERENCE, Raster

_BANDS: Final = ("red", "green", "blue")
# An image that would need more metatiles is made from overviews instead.
MAX_METATILES: Final = 16
# Pixels that may be read per pixel of the largest image.
MAX_OVERSAMPLING: Final = 4
# Larger than any coordinate in metres, feet or degrees, and small enough for accurate arithmetic.
_MAX_COORDINATE: Final = 1e9
# The northern edge of the tile at zoom 0.
_MERCATOR_LATITUDE: Final = WEB_MERCATOR_TMS.bbox.top
_DEFAULT_PX: Final = 1024
# Around the wanted pixels, on each side: bilinear interpolation may read them.
_CONTEXT_PX: Final = 2
# Raised by GDAL for coordinates outside a CRS, and by Python for numbers that are too large.
_PROJECTION_ERRORS: Final = (RasterioError, ValueError, OverflowError)


@dataclass(frozen=True)
class LayerInput:
    """The input of a `LayerReader`: a layer of an open service, never a path or URL."""

    service: TileService
    layer: Layer


@attr.s
class LayerReader(BaseReader):
    """Reads any rectangle of one layer, made from the same pixels as the layer's tiles."""

    input: LayerInput = attr.ib()
    tms: TileMatrixSet = attr.ib(default=WEB_MERCATOR_TMS)

    def __attrs_post_init__(self) -> None:
        """Set bounds, CRS and size from the layer's photograph."""
        self._view: View = self.input.service.rasters.view(self.input.layer, WEB_MERCATOR)
        info = self._view.source.info
        self.bounds, self.crs = info.bounds, info.crs
        if self._view.bounds_lonlat != info.bounds_lonlat:
            served = BBox(*transform_bounds(WGS84, info.crs, *self._view.bounds_lonlat, densify_pts=21))
            self.bounds = served.intersection(info.bounds) or info.bounds
        self.width, self.height = info.width, info.height
        self.transform = from_bounds(*info.bounds, info.width, info.height)

    @property
    def _tms_view(self) -> View:
        return self.input.service.rasters.view(self.input.layer, str(self.tms.id))

    @property
    def minzoom(self) -> int:
        """First zoom served of the reader's tile matrix set."""
        return self._tms_view.pyramid.first_zoom

    @property
    def maxzoom(self) -> int:
        """Last zoom served that the reader's tile matrix set defines; tiles may go on beyond it."""
        return min(self._tms_view.pyramid.max_zoom, int(self.tms.maxzoom))

    def info(self) -> Info:
        """Return the layer's metadata: three 8-bit bands, whatever the photograph has."""
        source = self._view.source.info
        # Validated, because the model does not declare the fields that rio-tiler adds for rasters.
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
        """Return one tile as an array."""
        view, window = self._tms_view, TileAddress(tile_z, tile_x, tile_y).window
        raster = self.input.service.picture(self.input.layer, str(self.tms.id), tile_z, window)
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
        """Return a rectangle as an image of bounded size.

        Args:
            bbox: left, bottom, right, top in `bounds_crs`.
            dst_crs: CRS of the image; `bounds_crs` if None.
            bounds_crs: CRS of `bbox`.
            max_size: longest side in pixels, used if neither `height` nor `width` is given.
            height: height of the image in pixels.
            width: width of the image in pixels.

        Raises:
            BadParameterError: `bbox` is not a rectangle, the image is too large, or the CRS does not fit.
            OutsideError: the rectangle does not intersect the area served.
        """
        target_crs = dst_crs or bounds_crs
        target = project(bounds_crs, target_crs, bbox)
        ground = project(target_crs, self._view.crs, target)
        columns, rows = self._size(target, ground, max_size, width, height)
        zoom, window = self._choose_window(ground, columns, rows)
        raster = self.input.service.picture(self.input.layer, WEB_MERCATOR, zoom, window)
        return _warp(raster, self._view, zoom, target_crs, target, (columns, rows))

    def preview(
        self,
        max_size: int | None = _DEFAULT_PX,
        height: int | None = None,
        width: int | None = None,
        dst_crs: CRS | None = None,
        **_: Any,
    ) -> ImageData:
        """Return the whole photograph as an image; arguments and errors as of `part`."""
        return self.part(self.bounds, dst_crs, self.crs, max_size, height, width)

    def statistics(self, **kwargs: Any) -> dict[str, BandStatistics]:
        """Return statistics of the preview's bands."""
        statistics: dict[str, BandStatistics] = self.preview().statistics(**kwargs)
        return statistics

    def point(self, lon: float, lat: float, coord_crs: CRS = WGS84, **_: Any) -> PointData:
        """Return the colour of the pixel at a place, at the native zoom; of a difference, the grey levels added.

        Raises:
            BadParameterError: the coordinates do not fit their CRS.
            OutsideError: the photograph has no data there.
        """
        pyramid, zoom = self._view.pyramid, self._view.pyramid.native_zoom
        try:
            with gdal_errors():
                xs, ys = transform(coord_crs, self._view.crs, [lon], [lat])[:2]
        except _PROJECTION_ERRORS as error:
            raise BadParameterError(
                "the coordinates do not fit their CRS: give lon,lat in degrees"
            ) from error
        if not _are_plausible(lon, lat, xs[0], ys[0]):
            raise BadParameterError("the coordinates do not fit their CRS: give lon,lat in degrees")
        left, bottom, right, top = pyramid.served
        if not (left <= xs[0] <= right and bottom <= ys[0] <= top):
            raise OutsideError("the photograph has no data at this place")
        pixel = pyramid.grid.covering(zoom, BBox(xs[0], ys[0], xs[0], ys[0]))
        raster = self.input.service.picture(self.input.layer, WEB_MERCATOR, zoom, pixel)
        if raster.is_empty:
            raise OutsideError("the photograph has no data at this place")
        if self.input.layer == "difference":
            change = (float(raster.rgb[0, 0, 0]) - NO_DIFFERENCE) / DIFFERENCE_GAIN
            return PointData(
                np.ma.MaskedArray([change]), band_names=["grey levels"], coordinates=(lon, lat), crs=coord_crs
            )
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
        """Return the bounding box of a GeoJSON feature as an image, with the pixels outside the feature masked.

        Raises:
            BadParameterError, OutsideError: as `part`, or the feature is not a GeoJSON polygon.
        """
        geometry = shape.get("geometry", shape)
        target_crs = dst_crs or shape_crs
        try:
            if target_crs != shape_crs:
                with gdal_errors():
                    geometry = transform_geom(shape_crs, target_crs, geometry)
            bounds = shape_bounds(geometry)
        except (*_PROJECTION_ERRORS, LookupError, TypeError, AttributeError) as error:
            raise BadParameterError("the feature is not a GeoJSON polygon in the given CRS") from error
        sizes = {name: kwargs.get(name) for name in ("max_size", "height", "width")}
        image = self.part(bounds, target_crs, target_crs, **sizes)
        outside = geometry_mask([geometry], (image.height, image.width), image.transform)
        image.array = np.ma.MaskedArray(image.array.data, image.array.mask | outside)
        return image

    def _size(
        self, target: BBox, ground: BBox, max_size: int | None, width: int | None, height: int | None
    ) -> tuple[int, int]:
        """Return the columns and rows of an image of `target` (in its CRS), whose `ground` is in Web Mercator."""
        limit = self.input.service.settings.max_image_px
        if any(size is not None and not 1 <= size <= limit for size in (max_size, width, height)):
            raise BadParameterError(
                f"an image has 1 to {limit} pixels on each side: request a smaller one, or tiles"
            )
        aspect = target.width / target.height
        if not 1e-6 <= aspect <= 1e6:
            raise BadParameterError("the rectangle is too narrow for an image: give a wider one")
        if width or height:
            columns = width or round((height or 1) * aspect)
            rows = height or round((width or 1) / aspect)
        else:
            native = self._view.pyramid.grid.covering(self._view.pyramid.native_zoom, ground)
            longest = min(max_size or limit, max(native.width, native.height))
            columns, rows = (
                (longest, round(longest / aspect)) if aspect > 1 else (round(longest * aspect), longest)
            )
        return min(max(columns, 1), limit), min(max(rows, 1), limit)

    def _choose_window(self, ground: BBox, columns: int, rows: int) -> tuple[int, PixelWindow]:
        """Return the coarsest zoom that is at least as fine as the image, and the window to read there."""
        pyramid = self._view.pyramid
        clipped = ground.intersection(pyramid.served)
        if clipped is None:
            raise OutsideError("the rectangle is outside the photograph: see the bounds in the TileJSON")
        # A tolerance for rounding, so that a tile's rectangle is read at the tile's own zoom.
        wanted_cell = 1.000001 * min(ground.width / columns, ground.height / rows)
        zoom = next(
            (z for z in range(pyramid.max_zoom) if pyramid.grid.cell(z) <= wanted_cell), pyramid.max_zoom
        )
        limit = MAX_OVERSAMPLING * self.input.service.settings.max_image_px**2
        while zoom > 0 and pyramid.grid.covering(zoom, clipped).area_px > limit:
            zoom -= 1
        if zoom >= pyramid.min_metatile_zoom:
            pieces = list(pyramid.pieces(zoom, pyramid.grid.covering(zoom, clipped).grown(_CONTEXT_PX)))
            if len(pieces) > MAX_METATILES and self.input.layer not in ("old", "new"):
                zoom = pyramid.min_metatile_zoom - 1
        return zoom, pyramid.grid.covering(zoom, clipped).grown(_CONTEXT_PX)


def _are_plausible(*coordinates: float) -> bool:
    """Return whether coordinates are finite and within reach of any CRS."""
    return all(abs(value) <= _MAX_COORDINATE for value in coordinates)


def project(source: CRS, target: CRS, bbox: tuple[float, float, float, float]) -> BBox:
    """Transform bounds to another CRS.

    Raises:
        BadParameterError: the result is not a rectangle.
    """
    try:
        left, bottom, right, top = bbox
        if source.is_geographic and target == WEB_MERCATOR_CRS:
            # The poles lie at infinity in Web Mercator.
            bottom, top = max(bottom, -_MERCATOR_LATITUDE), min(top, _MERCATOR_LATITUDE)
        if source != target:
            with gdal_errors():
                left, bottom, right, top = transform_bounds(
                    source, target, left, bottom, right, top, densify_pts=21
                )
    except _PROJECTION_ERRORS as error:
        raise BadParameterError("the rectangle cannot be transformed to that CRS") from error
    if not (_are_plausible(left, bottom, right, top) and left < right and bottom < top):
        raise BadParameterError("not a rectangle: give minx,miny,maxx,maxy in the axis order of the CRS")
    return BBox(left, bottom, right, top)


def _image(raster: Raster, bounds: BBox, crs: CRS) -> ImageData:
    hidden = np.broadcast_to(raster.mask == 0, (3, *raster.mask.shape))
    return ImageData(np.ma.MaskedArray(np.moveaxis(raster.rgb, 2, 0), hidden), bounds=bounds, crs=crs)


def _warp(
    raster: Raster, view: View, zoom: int, target_crs: CRS, target: BBox, size: tuple[int, int]
) -> ImageData:
    """Resample pixels of a zoom's grid to the image's grid."""
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
    # Pixels without data are filled first, so that interpolation at the edge of the data does not mix in black.
    planes = np.ascontiguousarray(np.moveaxis(fill_nodata(raster.rgb, raster.mask), 2, 0))
    reproject(planes, data, resampling=Resampling.bilinear, **grids)
    reproject(raster.mask, mask, resampling=Resampling.nearest, **grids)
    return ImageData(
        np.ma.MaskedArray(data, np.broadcast_to(mask == 0, data.shape)), bounds=target, crs=target_crs
    )
