"""The tile matrix sets on which a layer is served, and which of their tiles."""

from __future__ import annotations

from sr_model import PixelWindow
from tileserver.errors import OutsideError
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.grid import TILE_PX, BBox, QuadGrid
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms


def covering_views(service: TileService, layer: str) -> dict[str, View]:
    """Return a layer's view on each tile matrix set that covers it, by the set's identifier.

    GDAL and QGIS use the first by default, so that is Web Mercator.
    """
    views = {}
    for name in sorted(supported_tms().list(), key=lambda name: (name != WEB_MERCATOR, name)):
        try:
            views[name] = service.rasters.view(layer, name)
        except OutsideError:
            continue
    return views


def served_tiles(grid: QuadGrid, served: BBox, zoom: int) -> PixelWindow:
    """Return the columns and rows of the tiles of a zoom that are served, as a window whose pixels are tiles.

    Args:
        grid: of the tile matrix set.
        served: the part that has tiles, in the CRS of the grid.
        zoom: the zoom.
    """
    return grid.covering(zoom, served).aligned(TILE_PX).scaled_down(TILE_PX)
