"""A photograph seen through one tile matrix set: pixels of any zoom's global grid."""

from __future__ import annotations

import math
from dataclasses import replace

from affine import Affine
from morecantile import TileMatrixSet
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from sr_model import PixelWindow
from sr_model.ground import PixelSize
from tileserver.errors import OutsideError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.pixel_size import WGS84, pixel_size
from tileserver.photo.source import Source
from tileserver.tiling.grid import LEVELS_ABOVE, TILE_PX, BBox, Limits, Pyramid, QuadGrid, nearest_zoom
from tileserver.tiling.raster import Raster


class View:
    """Reads windows of a grid's zooms.

    Args:
        source: the photograph.
        tms: the tile matrix set.
        gsd_m: ground sample distance that the network wants; decides the native zoom.

    Raises:
        OutsideError: the set is no quadtree, or does not cover the photograph.

    Attributes:
        pyramid: which tiles there are.
        bounds_lonlat: ground that is served, in degrees.
    """

    def __init__(self, source: Source, tms: TileMatrixSet, gsd_m: float) -> None:
        self.source = source
        self.bounds_lonlat = source.info.bounds_lonlat
        self.crs = CRS.from_user_input(tms.rasterio_crs)
        self.tms = tms
        grid = QuadGrid.from_tms(tms)
        info = source.info
        try:
            with gdal_errors():
                extent = BBox(*transform_bounds(info.crs, self.crs, *info.bounds, densify_pts=21))
                # Measured with pixels near the source's own size, then scaled: zoom 0's would span the globe.
                guess = max(0, round(math.log2(grid.cell0 / max(extent.width / info.width, 1e-12))))
                cell = grid.cell(guess)
                size = pixel_size(self.crs, extent.centre, (cell, 0.0), (0.0, -cell))
        except RasterioError as error:
            raise OutsideError(_uncovered(grid.tms_id)) from error
        if not all(math.isfinite(value) for value in (*extent, size.x_m, size.y_m)):
            raise OutsideError(_uncovered(grid.tms_id))
        self._pixel0 = size.times(2.0**guess)
        self.pyramid = Pyramid(grid, nearest_zoom(self._pixel0.gsd_m, gsd_m), extent)
        # PROJ computes positions far outside of the set too, and there are no tiles there.
        whole = PixelWindow(0, 0, grid.columns0 * TILE_PX, grid.rows0 * TILE_PX)
        if not self.pyramid.touches(0, whole):
            raise OutsideError(_uncovered(grid.tms_id))

    def limit(self, limits: Limits, native_zoom: int) -> None:
        """Serve only a part from now on.

        Args:
            limits: bounds in degrees, and zooms of the set in which the photograph's native zoom is `native_zoom`.
                Here they are the zooms as far from this set's native one.
            native_zoom: see `limits`.

        Raises:
            OutsideError: nothing is left.
        """
        bounds, zooms = None, None
        if limits.bounds:
            self.bounds_lonlat = _shared(limits.bounds, self.bounds_lonlat)
            served = BBox(*transform_bounds(WGS84, self.crs, *self.bounds_lonlat, densify_pts=21))
            bounds = _shared(served, self.pyramid.extent)
        if limits.zooms:
            shift = self.pyramid.native_zoom - native_zoom
            zooms = (max(0, limits.zooms[0] + shift), limits.zooms[1] + shift)
            if not zooms[0] <= zooms[1] <= self.pyramid.native_zoom + LEVELS_ABOVE:
                raise OutsideError(
                    f"zooms {limits.zooms[0]} to {limits.zooms[1]} cannot be served: this network reaches zoom "
                    f"{native_zoom + LEVELS_ABOVE} of this photograph"
                )
        self.pyramid = replace(self.pyramid, limits=Limits(bounds, zooms))

    def pixel(self, zoom: int) -> PixelSize:
        """Ground size of the zoom's pixels at the middle of the photograph."""
        return self._pixel0.times(2.0**-zoom)

    def read(self, zoom: int, window: PixelWindow) -> Raster:
        """Pixels of a window, warped from the photograph; its overviews serve zooms below the native one."""
        grid = self.pyramid.grid
        cell = grid.cell(zoom)
        transform = Affine(cell, 0.0, grid.left + window.x * cell, 0.0, -cell, grid.top - window.y * cell)
        return self.source.read(
            self.crs, transform, window, self.pixel(zoom), overviews=zoom < self.pyramid.native_zoom
        )


def _uncovered(tms_id: str) -> str:
    if tms_id == "WebMercatorQuad":
        return "the photograph lies beyond 85 degrees, where Web Mercator ends: it cannot be served"
    return f"{tms_id} does not cover the photograph: use WebMercatorQuad"


def _shared(limits: BBox, photograph: BBox) -> BBox:
    """The ground of both.

    Raises:
        OutsideError: they share none.
    """
    shared = limits.intersection(photograph)
    if shared is None:
        raise OutsideError("the bounds that are served show nothing of the photograph: see orthosharp info")
    return shared
