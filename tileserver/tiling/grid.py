"""Pure arithmetic from tiles to metatiles and windows in ground units; knows neither files nor networks.

Every zoom of a quadtree tile matrix set is one global grid of pixels, y down, whose origin is the corner of
tile 0/0/0. A *window* (`sr_model.PixelWindow`) is a rectangle of it. A tile at scale @2x is a window of the
next zoom.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import morecantile
from morecantile import TileMatrixSet

from sr_model import PixelWindow
from tileserver.errors import OutsideError

TILE_PX: Final = 256
METATILE_TILES: Final = 4
METATILE_PX: Final = METATILE_TILES * TILE_PX
# One metatile of 4 x 4 tiles fills the 2 x 2 tiles above it and the one above those.
LEVELS_BELOW: Final = 2
LEVELS_ABOVE: Final = 2


class BBox(NamedTuple):
    """A rectangle of ground in units of a CRS, `right` and `top` in the direction of its axes.

    In a geographic CRS `left` is west, `bottom` south, `right` east and `top` north.
    """

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From bottom to top."""
        return self.top - self.bottom

    @property
    def centre(self) -> tuple[float, float]:
        """The middle, as x and y."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlaps(self, other: BBox) -> bool:
        """Whether the two share ground; a common border is not enough."""
        return (
            self.left < other.right
            and self.right > other.left
            and self.bottom < other.top
            and self.top > other.bottom
        )

    def intersection(self, other: BBox) -> BBox | None:
        """The ground of both; None where they share none."""
        shared = BBox(
            max(self.left, other.left),
            max(self.bottom, other.bottom),
            min(self.right, other.right),
            min(self.top, other.top),
        )
        return shared if shared.left < shared.right and shared.bottom < shared.top else None


@dataclass(frozen=True, order=True)
class TileAddress:
    """One tile of a matrix set; `scale` 2 asks for the picture of the next zoom."""

    z: int
    x: int
    y: int
    scale: int = 1

    @property
    def pixel_zoom(self) -> int:
        """Zoom whose pixels the tile shows."""
        return self.z + self.scale - 1

    @property
    def window(self) -> PixelWindow:
        """The tile in its pixel zoom's global grid."""
        size = TILE_PX * self.scale
        return PixelWindow(self.x * size, self.y * size, size, size)


@dataclass(frozen=True)
class QuadGrid:
    """A tile matrix set whose every zoom halves the pixels of the one before.

    Attributes:
        tms_id: its name, such as WebMercatorQuad.
        left, top: corner of tile 0/0/0 in units of the set's CRS.
        cell0: width of a pixel at zoom 0, in units of the CRS.
        columns0, rows0: tiles at zoom 0.
    """

    tms_id: str
    left: float
    top: float
    cell0: float
    columns0: int
    rows0: int

    @classmethod
    def from_tms(cls, tms: TileMatrixSet) -> QuadGrid:
        """Take over the geometry of a morecantile set.

        Raises:
            OutsideError: it is no quadtree of 256 px tiles.
        """
        name = str(tms.id)
        if not is_quadtree(tms):
            raise OutsideError(f"{name} is no quadtree of 256 px tiles: use WebMercatorQuad")
        first = tms.tileMatrices[0]
        corner = tms.xy_bounds(morecantile.Tile(0, 0, 0))
        return cls(name, corner.left, corner.top, first.cellSize, first.matrixWidth, first.matrixHeight)

    def cell(self, zoom: int) -> float:
        """Width of a pixel in units of the CRS."""
        return math.ldexp(self.cell0, -zoom)

    def bounds(self, zoom: int, window: PixelWindow) -> BBox:
        """The ground of a window in units of the CRS."""
        cell = self.cell(zoom)
        return BBox(
            self.left + window.x * cell,
            self.top - window.bottom * cell,
            self.left + window.right * cell,
            self.top - window.y * cell,
        )

    def covering(self, zoom: int, bounds: BBox) -> PixelWindow:
        """The smallest window of whole pixels around some ground, of one pixel at least."""
        cell = self.cell(zoom)
        # Far less than a pixel, so that bounds that were computed from a window give that window again.
        slack = 1e-6
        left = math.floor((bounds.left - self.left) / cell + slack)
        top = math.floor((self.top - bounds.top) / cell + slack)
        right = math.ceil((bounds.right - self.left) / cell - slack)
        bottom = math.ceil((self.top - bounds.bottom) / cell - slack)
        return PixelWindow.between(left, top, max(left + 1, right), max(top + 1, bottom))

    def has_tile(self, tile: TileAddress) -> bool:
        """Whether the matrix of the tile's zoom has such a column and row."""
        return 0 <= tile.x < self.columns0 << tile.z and 0 <= tile.y < self.rows0 << tile.z


@dataclass(frozen=True)
class Limits:
    """Which tiles are served; where a field is None, all that show the photograph.

    They decide no pixels: a tile that is served is the same without them.

    Attributes:
        bounds: ground.
        zooms: first and last zoom.
    """

    bounds: BBox | None = None
    zooms: tuple[int, int] | None = None


NO_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Pyramid:
    """A grid over one photograph, with the zoom that the network works at.

    Attributes:
        grid: the tile matrix set.
        native_zoom: zoom whose ground resolution is nearest the model's.
        extent: ground of the photograph in units of the grid's CRS.
        limits: which tiles are served, in the same units and in zooms of the grid.
    """

    grid: QuadGrid
    native_zoom: int
    extent: BBox
    limits: Limits = NO_LIMITS

    @property
    def served(self) -> BBox:
        """The part of `extent` that is served."""
        return self.limits.bounds or self.extent

    @property
    def first_zoom(self) -> int:
        """First zoom that is served."""
        return self.limits.zooms[0] if self.limits.zooms else 0

    @property
    def max_zoom(self) -> int:
        """Last zoom of tiles; @2x tiles there show one more."""
        return self.limits.zooms[1] if self.limits.zooms else self.native_zoom + LEVELS_ABOVE

    @property
    def min_metatile_zoom(self) -> int:
        """First zoom that metatiles fill; coarser ones come from overviews."""
        return self.native_zoom - LEVELS_BELOW

    @property
    def min_zoom(self) -> int:
        """First useful zoom: the last one at which the photograph fits into one tile, unless limits name another."""
        if self.limits.zooms:
            return self.first_zoom
        for zoom in range(self.native_zoom + 1):
            window = self.grid.covering(zoom, self.extent)
            if max(window.width, window.height) > TILE_PX:
                return max(0, zoom - 1)
        return self.native_zoom

    def touches(self, zoom: int, window: PixelWindow) -> bool:
        """Whether the window may show any of the photograph."""
        return self.grid.bounds(zoom, window).overlaps(self.extent)

    def serves(self, tile: TileAddress) -> bool:
        """Whether the tile is within the limits."""
        ground = self.grid.bounds(tile.pixel_zoom, tile.window)
        return self.first_zoom <= tile.z <= self.max_zoom and ground.overlaps(self.served)

    def check(self, tile: TileAddress) -> None:
        """Refuse a tile that cannot show anything.

        Raises:
            OutsideError: the zoom or the place is not served.
        """
        if not self.first_zoom <= tile.z <= self.max_zoom:
            raise OutsideError(f"zoom {tile.z} is not served: use {self.first_zoom} to {self.max_zoom}")
        if not self.grid.has_tile(tile):
            raise OutsideError(f"{self.grid.tms_id} has no tile {tile.z}/{tile.x}/{tile.y}")
        if not self.serves(tile):
            raise OutsideError(
                f"tile {tile.z}/{tile.x}/{tile.y} is outside the photograph: see the TileJSON's bounds"
            )

    def pieces(self, zoom: int, window: PixelWindow) -> Iterator[tuple[PixelWindow, PixelWindow]]:
        """Split a window at the borders of metatiles.

        Args:
            zoom: the window's pixel zoom, `min_metatile_zoom` or finer.
            window: any window of that zoom.

        Yields:
            A metatile in the native zoom's grid, and the part of `window` that it covers.
        """
        zooms = zoom - self.native_zoom
        side = METATILE_PX << zooms if zooms >= 0 else METATILE_PX >> -zooms
        for part in window.split(side):
            yield at_zoom(part.aligned(side), -zooms), part


def is_quadtree(tms: TileMatrixSet) -> bool:
    """Whether every zoom halves the pixels of the one before, in tiles of 256 px from one corner."""
    matrices = tms.tileMatrices
    first = matrices[0]
    return all(
        matrix.id == str(zoom)
        # Definitions print rounded cell sizes: over the whole matrix that may come to half a pixel, not more.
        and abs(matrix.cellSize * 2**zoom / first.cellSize - 1) * matrix.matrixWidth * TILE_PX < 0.5
        and matrix.tileWidth == matrix.tileHeight == TILE_PX
        and matrix.pointOfOrigin == first.pointOfOrigin
        and matrix.cornerOfOrigin == "topLeft"
        and not matrix.variableMatrixWidths
        for zoom, matrix in enumerate(matrices)
    )


def at_zoom(window: PixelWindow, zooms: int) -> PixelWindow:
    """The same ground in the grid of a zoom that is `zooms` finer or, negative, coarser.

    Raises:
        ValueError: it does not lie on whole pixels of the coarser grid.
    """
    return window.scaled_up(1 << zooms) if zooms >= 0 else window.scaled_down(1 << -zooms)


def nearest_zoom(gsd_at_zoom0_m: float, gsd_m: float) -> int:
    """Zoom whose ground resolution is nearest `gsd_m`, in octaves."""
    return max(0, round(math.log2(gsd_at_zoom0_m / gsd_m)))
