"""A photograph on one tile matrix set: pixels of any window of any zoom."""

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
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.tiling.grid import LEVELS_ABOVE, TILE_PX, BBox, Limits, Pyramid, QuadGrid
from tileserver.tiling.raster import Raster


class View:
    """Reads a photograph's pixels on a grid.

    Args:
        source: the photograph.
        grid: the grid, such as that of a tile matrix set (see `of_tms`).
        crs: CRS of the grid.
        scale: pixel size that the photograph is restored at, which determines the native zoom.

    Raises:
        OutsideError: the grid does not cover the photograph.

    Attributes:
        pyramid: the photograph's tiles on this grid.
        bounds_lonlat: the area served, in degrees.
    """

    def __init__(self, source: Source, grid: QuadGrid, crs: CRS, scale: OutputScale) -> None:
        self.source = source
        self.bounds_lonlat = source.info.bounds_lonlat
        self.crs = crs
        info = source.info
        try:
            with gdal_errors():
                extent = BBox(*transform_bounds(info.crs, self.crs, *info.bounds, densify_pts=21))
                # Measured at a zoom whose pixels are about as large as the photograph's, then scaled to zoom 0,
                # where a pixel would span hundreds of kilometres.
                guess = max(0, round(math.log2(grid.cell0 / max(extent.width / info.width, 1e-12))))
                cell = grid.cell(guess)
                size = pixel_size(self.crs, extent.centre, (cell, 0.0), (0.0, -cell))
        except RasterioError as error:
            raise OutsideError(_not_covered(grid.tms_id)) from error
        if not all(math.isfinite(value) for value in (*extent, size.x_m, size.y_m)):
            raise OutsideError(_not_covered(grid.tms_id))
        self._pixel0 = size.times(2.0**guess)
        self.pyramid = Pyramid(grid, scale.native_zoom(self._pixel0.gsd_m), extent)
        # PROJ also returns coordinates far outside the grid's extent, where there are no tiles.
        whole = PixelWindow(0, 0, grid.columns0 * TILE_PX, grid.rows0 * TILE_PX)
        if not self.pyramid.touches(0, whole):
            raise OutsideError(_not_covered(grid.tms_id))

    @classmethod
    def of_tms(cls, source: Source, tms: TileMatrixSet, scale: OutputScale) -> View:
        """Return the view on a tile matrix set.

        Raises:
            OutsideError: the set is not a quadtree, or does not cover the photograph.
        """
        return cls(source, QuadGrid.from_tms(tms), CRS.from_user_input(tms.rasterio_crs), scale)

    def limit(self, limits: Limits, native_zoom: int) -> None:
        """Restrict what is served.

        Args:
            limits: bounds in degrees; zooms of Web Mercator, which are shifted so that they lie as far from this
                set's native zoom as from `native_zoom`.
            native_zoom: the photograph's native zoom in Web Mercator.

        Raises:
            OutsideError: the limits leave nothing of the photograph.
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
        """Return the ground size of a zoom's pixels at the centre of the photograph."""
        return self._pixel0.times(2.0**-zoom)

    def read(self, zoom: int, window: PixelWindow) -> Raster:
        """Return the pixels of a window, warped from the photograph, or from its overviews below the native zoom.

        Raises:
            ReadError, SourceChangedError: see `Source.read`.
        """
        grid = self.pyramid.grid
        cell = grid.cell(zoom)
        transform = Affine(cell, 0.0, grid.left + window.x * cell, 0.0, -cell, grid.top - window.y * cell)
        return self.source.read(
            self.crs, transform, window, self.pixel(zoom), overviews=zoom < self.pyramid.native_zoom
        )


def _not_covered(tms_id: str) -> str:
    if tms_id == "WebMercatorQuad":
        return (
            "the photograph lies beyond 85 degrees of latitude, where Web Mercator ends: it cannot be served"
        )
    return f"{tms_id} does not cover the photograph: use WebMercatorQuad"


def _shared(limits: BBox, photograph: BBox) -> BBox:
    """Return the intersection of two rectangles.

    Raises:
        OutsideError: it is empty.
    """
    shared = limits.intersection(photograph)
    if shared is None:
        raise OutsideError(
            "the bounds do not intersect the photograph: see its own bounds with orthosharp info FILE"
        )
    return shared
