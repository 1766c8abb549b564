"""Arithmetic of tiles, metatiles and pixel windows; opens neither files nor networks.

Each zoom of a quadtree tile matrix set defines one global pixel grid with y pointing down, whose origin is the
top left corner of tile 0/0/0. A *window* (`sr_model.PixelWindow`) is a rectangle in that grid. An @2x tile is a
window of the next zoom.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sr_model import PixelWindow
from tileserver.errors import BesideError, OutsideError

if TYPE_CHECKING:  # it takes a third of a second to import, and settings need none of it
    from morecantile import TileMatrixSet

TILE_PX: Final = 256
METATILE_TILES: Final = 4
METATILE_PX: Final = METATILE_TILES * TILE_PX
# A metatile's 4 x 4 tiles also make the 2 x 2 tiles one zoom out and the single tile two zooms out.
LEVELS_BELOW: Final = 2
LEVELS_ABOVE: Final = 2


class BBox(NamedTuple):
    """A rectangle of ground, in units of a CRS.

    Attributes:
        left, bottom, right, top: its edges; west, south, east and north in a geographic CRS.
    """

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """Length from left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Length from bottom to top."""
        return self.top - self.bottom

    @property
    def centre(self) -> tuple[float, float]:
        """The middle, as x and y."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlaps(self, other: BBox) -> bool:
        """Return whether two rectangles overlap; a shared border does not count."""
        return (
            self.left < other.right
            and self.right > other.left
            and self.bottom < other.top
            and self.top > other.bottom
        )

    def intersection(self, other: BBox) -> BBox | None:
        """Return the common ground of two rectangles; None if they do not overlap."""
        shared = BBox(
            max(self.left, other.left),
            max(self.bottom, other.bottom),
            min(self.right, other.right),
            min(self.top, other.top),
        )
        return shared if shared.left < shared.right and shared.bottom < shared.top else None


@dataclass(frozen=True, order=True)
class TileAddress:
    """One tile of a tile matrix set; with `scale` 2 it has the pixels of the next zoom."""

    z: int
    x: int
    y: int
    scale: int = 1

    @property
    def pixel_zoom(self) -> int:
        """Zoom whose pixel grid the tile uses."""
        return self.z + self.scale - 1

    @property
    def window(self) -> PixelWindow:
        """The tile's window in the global grid of `pixel_zoom`."""
        size = TILE_PX * self.scale
        return PixelWindow(self.x * size, self.y * size, size, size)


@dataclass(frozen=True)
class QuadGrid:
    """A tile matrix set in which each zoom halves the pixel size of the one before.

    Attributes:
        tms_id: the identifier of the set, such as WebMercatorQuad.
        left, top: top left corner of tile 0/0/0, in units of the set's CRS.
        cell0: pixel size at zoom 0, in units of the CRS.
        columns0, rows0: number of tiles at zoom 0.
    """

    tms_id: str
    left: float
    top: float
    cell0: float
    columns0: int
    rows0: int

    @classmethod
    def from_tms(cls, tms: TileMatrixSet) -> QuadGrid:
        """Return the grid of a morecantile tile matrix set.

        Raises:
            OutsideError: the set is not a quadtree of 256 px tiles.
        """
        name = str(tms.id)
        if not is_quadtree(tms):
            raise OutsideError(f"{name} is not a quadtree of 256 px tiles: use WebMercatorQuad")
        from morecantile import Tile

        first = tms.tileMatrices[0]
        corner = tms.xy_bounds(Tile(0, 0, 0))
        return cls(name, corner.left, corner.top, first.cellSize, first.matrixWidth, first.matrixHeight)

    def cell(self, zoom: int) -> float:
        """Return the pixel size of a zoom in units of the CRS."""
        return math.ldexp(self.cell0, -zoom)

    def bounds(self, zoom: int, window: PixelWindow) -> BBox:
        """Return the ground of a window in units of the CRS."""
        cell = self.cell(zoom)
        return BBox(
            self.left + window.x * cell,
            self.top - window.bottom * cell,
            self.left + window.right * cell,
            self.top - window.y * cell,
        )

    def covering(self, zoom: int, bounds: BBox) -> PixelWindow:
        """Return the smallest window, of one pixel at least, that contains `bounds` (in units of the CRS)."""
        cell = self.cell(zoom)
        # A tolerance far below one pixel: covering(bounds(window)) returns the window itself.
        slack = 1e-6
        left = math.floor((bounds.left - self.left) / cell + slack)
        top = math.floor((self.top - bounds.top) / cell + slack)
        right = math.ceil((bounds.right - self.left) / cell - slack)
        bottom = math.ceil((self.top - bounds.bottom) / cell - slack)
        return PixelWindow.between(left, top, max(left + 1, right), max(top + 1, bottom))

    def has_tile(self, tile: TileAddress) -> bool:
        """Return whether the tile's column and row exist at its zoom."""
        return 0 <= tile.x < self.columns0 << tile.z and 0 <= tile.y < self.rows0 << tile.z


@dataclass(frozen=True)
class Limits:
    """Limits on the tiles that are served; a field that is None sets no limit.

    Limits never change the pixels of a tile that is served.

    Attributes:
        bounds: the area served.
        zooms: first and last zoom served.
    """

    bounds: BBox | None = None
    zooms: tuple[int, int] | None = None


NO_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Pyramid:
    """The tiles of one photograph on one grid.

    Attributes:
        grid: the tile matrix set.
        native_zoom: the zoom at which the network works: its pixel size on the ground is nearest to the one that the
            photograph is restored at.
        extent: ground of the photograph in units of the grid's CRS.
        limits: which tiles are served; bounds in units of the CRS, zooms of the grid.
    """

    grid: QuadGrid
    native_zoom: int
    extent: BBox
    limits: Limits = NO_LIMITS

    @property
    def served(self) -> BBox:
        """The area that is served, in units of the grid's CRS."""
        return self.limits.bounds or self.extent

    @property
    def first_zoom(self) -> int:
        """First zoom served."""
        return self.limits.zooms[0] if self.limits.zooms else 0

    @property
    def max_zoom(self) -> int:
        """Last zoom served; its @2x tiles have the pixels of one zoom more."""
        return self.limits.zooms[1] if self.limits.zooms else self.native_zoom + LEVELS_ABOVE

    @property
    def min_metatile_zoom(self) -> int:
        """First zoom made from metatiles; zooms further out are read from overviews."""
        return self.native_zoom - LEVELS_BELOW

    @property
    def min_zoom(self) -> int:
        """First useful zoom: the limits' first, else the last at which the photograph fits one tile."""
        if self.limits.zooms:
            return self.first_zoom
        for zoom in range(self.native_zoom + 1):
            window = self.grid.covering(zoom, self.extent)
            if max(window.width, window.height) > TILE_PX:
                return max(0, zoom - 1)
        return self.native_zoom

    def touches(self, zoom: int, window: PixelWindow) -> bool:
        """Return whether a window intersects the photograph's extent."""
        return self.grid.bounds(zoom, window).overlaps(self.extent)

    def serves(self, tile: TileAddress) -> bool:
        """Return whether a tile is within the limits and intersects the area served."""
        ground = self.grid.bounds(tile.pixel_zoom, tile.window)
        return self.first_zoom <= tile.z <= self.max_zoom and ground.overlaps(self.served)

    def check(self, tile: TileAddress) -> None:
        """Refuse a tile that is not served.

        Raises:
            OutsideError: its zoom is not served, or the grid has no such tile.
            BesideError: it lies outside the area served.
        """
        if not self.first_zoom <= tile.z <= self.max_zoom:
            raise OutsideError(f"zoom {tile.z} is not served: use {self.first_zoom} to {self.max_zoom}")
        if not self.grid.has_tile(tile):
            raise OutsideError(f"{self.grid.tms_id} has no tile {tile.z}/{tile.x}/{tile.y}")
        if not self.serves(tile):
            raise BesideError(
                f"tile {tile.z}/{tile.x}/{tile.y} is outside the photograph: see the bounds in the TileJSON"
            )

    def pieces(self, zoom: int, window: PixelWindow) -> Iterator[tuple[PixelWindow, PixelWindow]]:
        """Split a window along the borders of metatiles.

        Args:
            zoom: zoom of the window's pixel grid, `min_metatile_zoom` or finer.
            window: any window of that zoom.

        Yields:
            A metatile as a window of the native zoom, and the part of `window` that it covers.
        """
        zooms = zoom - self.native_zoom
        side = METATILE_PX << zooms if zooms >= 0 else METATILE_PX >> -zooms
        for part in window.split(side):
            yield at_zoom(part.aligned(side), -zooms), part


def is_quadtree(tms: TileMatrixSet) -> bool:
    """Return whether each zoom halves the pixel size of the one before, in 256 px tiles from the same corner."""
    matrices = tms.tileMatrices
    first = matrices[0]
    return all(
        matrix.id == str(zoom)
        # Definitions print rounded cell sizes: tolerate half a pixel over the width of the matrix.
        and abs(matrix.cellSize * 2**zoom / first.cellSize - 1) * matrix.matrixWidth * TILE_PX < 0.5
        and matrix.tileWidth == matrix.tileHeight == TILE_PX
        and matrix.pointOfOrigin == first.pointOfOrigin
        and matrix.cornerOfOrigin == "topLeft"
        and not matrix.variableMatrixWidths
        for zoom, matrix in enumerate(matrices)
    )


def at_zoom(window: PixelWindow, zooms: int) -> PixelWindow:
    """Return the window of the same ground in a grid `zooms` levels finer, or coarser where negative.

    Raises:
        ValueError: it does not lie on whole pixels of the coarser grid.
    """
    return window.scaled_up(1 << zooms) if zooms >= 0 else window.scaled_down(1 << -zooms)


def nearest_zoom(gsd_at_zoom0_m: float, gsd_m: float) -> int:
    """Return the zoom whose GSD is nearest to `gsd_m` on a logarithmic scale; both in metres per pixel."""
    return max(0, round(math.log2(gsd_at_zoom0_m / gsd_m)))
