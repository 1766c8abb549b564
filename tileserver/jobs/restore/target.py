"""The pixel grid that a photograph is restored on, and the window of it to restore."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from affine import Affine
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from sr_model import PixelWindow
from tileserver.errors import OutsideError, SettingsError
from tileserver.jobs.area import Area
from tileserver.photo.pixel_size import pixel_size
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.grid import METATILE_PX, TILE_PX, QuadGrid
from tileserver.tiling.layer import supported_tms


@dataclass(frozen=True, eq=False)
class Target:
    """The pixels to restore.

    Attributes:
        view: the photograph on the grid.
        window: window of the grid's native zoom.
        outline: area outside of which pixels have no data, in units of the grid's CRS; None for a rectangle.
    """

    view: View
    window: PixelWindow
    outline: BaseGeometry | None = None

    @property
    def crs(self) -> CRS:
        """CRS of the grid."""
        return self.view.crs

    @property
    def gsd_m(self) -> float:
        """Ground sample distance in metres."""
        return self.view.pixel(self.view.pyramid.native_zoom).gsd_m

    def transform(self, window: PixelWindow) -> Affine:
        """Return the geotransform of a window."""
        grid, zoom = self.view.pyramid.grid, self.view.pyramid.native_zoom
        bounds, cell = grid.bounds(zoom, window), grid.cell(zoom)
        return Affine(cell, 0.0, bounds.left, 0.0, -cell, bounds.top)

    def metatiles(self) -> Iterator[PixelWindow]:
        """Yield the metatiles that cover the window, row by row, as files are written."""
        pyramid = self.view.pyramid
        for metatile, _ in pyramid.pieces(pyramid.native_zoom, self.window):
            yield metatile

    @property
    def metatile_count(self) -> int:
        """Number of metatiles that cover the window."""
        return self.window.aligned(METATILE_PX).scaled_down(METATILE_PX).area_px


def own_view(source: Source, scale: OutputScale) -> View:
    """Return the photograph on a grid in its own CRS, from its north-west corner, with pixels of exactly that scale."""
    gsd_m = min(scale.gsd_m, scale.coarsest_m)
    info = source.info
    left, top = info.bounds.left, info.bounds.top
    step = info.bounds.width / info.width
    cell = step * gsd_m / pixel_size(info.crs, info.bounds.centre, (step, 0.0), (0.0, -step)).gsd_m
    # One tile of zoom 0 holds all of the photograph; the deepest zoom has the cell that is wanted.
    zooms = max(2, math.ceil(math.log2(max(info.bounds.width, info.bounds.height) / (cell * TILE_PX))))
    return View(source, QuadGrid("own", left, top, cell * 2**zooms, 1, 1), info.crs, OutputScale(gsd_m))


def tms_view(source: Source, name: str, scale: OutputScale) -> View:
    """Return the photograph on a tile matrix set.

    Raises:
        SettingsError: the set does not exist, or does not cover the photograph.
    """
    known = supported_tms()
    if name not in known.list():
        raise SettingsError(f"--tms {name} is not a tile matrix set with a quadtree: use WebMercatorQuad")
    try:
        return View.of_tms(source, known.get(name), scale)
    except OutsideError as error:
        raise SettingsError(f"--tms: {error}") from error


def make_target(view: View, wanted: BaseGeometry | None, *, cut: bool, whole_tiles: bool) -> Target:
    """Determine the pixels to restore.

    Args:
        view: the photograph on its grid.
        wanted: area in units of the grid's CRS; None for the whole photograph.
        cut: mask pixels outside `wanted`; otherwise its bounding box is restored.
        whole_tiles: extend the window to whole tiles, so that the blocks of the file are tiles.

    Raises:
        SettingsError: the area does not intersect the photograph.
    """
    pyramid = view.pyramid
    area = Area(wanted, pyramid.extent)
    window = pyramid.grid.covering(pyramid.native_zoom, area.bounds)
    if whole_tiles:
        window = window.aligned(TILE_PX)
    return Target(view, window, area.shape if cut and not area.is_whole else None)
