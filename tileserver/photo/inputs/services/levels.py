"""What a service offers: one layer in one CRS, as grids of tiles of different pixel sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import pyproj
from rasterio.crs import CRS

from sr_model import PixelWindow
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import pixel_size
from tileserver.tiling.grid import BBox

# Half of the width of Web Mercator's world in metres (OGC 17-083r4, WebMercatorQuad).
MERCATOR_HALF_M: Final = 20037508.342789244
# Scale denominators in documents are rounded.
_SAME_RATIO: Final = 1e-6
# How exactly the pixels of two levels have to lie on one another, in pixels of the coarser one.
_ALIGNED_PX: Final = 0.01
# Longest side of the coarsest overview is at least this.
_LEAST_OVERVIEW_PX: Final = 128
# The scale denominator is that of pixels of 0.28 mm (OGC 07-057r7, 6.1).
PIXEL_M: Final = 0.00028
# Degrees of longitude; no country that has a CRS of its own is wider.
_WIDEST: Final = 200.0


class TileRange(NamedTuple):
    """Columns and rows of tiles that exist; the ends are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def contains(self, x: int, y: int) -> bool:
        """Whether a tile exists."""
        return self.left <= x < self.right and self.top <= y < self.bottom


@dataclass(frozen=True)
class Level:
    """A grid of tiles of one pixel size.

    Attributes:
        name: as the service calls it.
        cell: size of a pixel in units of the CRS.
        left, top: corner of tile 0, 0.
        tile_px: width and height of a tile.
        tiles: the tiles that exist.
        url: returns the URL of a tile, for column and row from the top.
    """

    name: str
    cell: float
    left: float
    top: float
    tile_px: tuple[int, int]
    tiles: TileRange
    url: Callable[[int, int], str]

    @property
    def bounds(self) -> BBox:
        """The ground of its tiles."""
        width, height = (self.cell * side for side in self.tile_px)
        return BBox(
            self.left + self.tiles.left * width,
            self.top - self.tiles.bottom * height,
            self.left + self.tiles.right * width,
            self.top - self.tiles.top * height,
        )

    def window(self, bounds: BBox, multiple: int = 1) -> PixelWindow:
        """Return the smallest window over `bounds` whose sides are multiples of some pixels from tile 0, 0."""
        step = self.cell * multiple
        left = math.floor((bounds.left - self.left) / step + _ALIGNED_PX)
        top = math.floor((self.top - bounds.top) / step + _ALIGNED_PX)
        right = math.ceil((bounds.right - self.left) / step - _ALIGNED_PX)
        bottom = math.ceil((self.top - bounds.bottom) / step - _ALIGNED_PX)
        left, top = max(left, 0), max(top, 0)
        sides = max(right - left, 1), max(bottom - top, 1)
        return PixelWindow(left * multiple, top * multiple, sides[0] * multiple, sides[1] * multiple)


@dataclass(frozen=True)
class ServiceLayer:
    """A layer of a service, as its capabilities describe it.

    Attributes:
        title: its title.
        credit: who made or owns it; may be empty.
        terms: what the service says of its use, as whole sentences or addresses; may be empty.
        crs: CRS of its grids.
        bounds: its ground in units of `crs`.
        levels: its grids, the finest first.
        identity: what was chosen of it; part of keys.
        are_certain: whether the service says that the levels exist; those of a template are tried.
        warnings: what to tell the user.
    """

    title: str
    credit: str
    terms: tuple[str, ...]
    crs: CRS
    bounds: BBox
    levels: tuple[Level, ...]
    identity: str
    are_certain: bool = True
    warnings: tuple[Notice, ...] = ()

    def gsd_m(self, level: Level) -> float:
        """Return the size of a level's pixels on the ground in the middle of the layer, in metres."""
        # Measured at a pixel that lies within the CRS, as one of the coarsest may not.
        cell = self.levels[0].cell if self.levels else level.cell
        finest = pixel_size(self.crs, self.bounds.centre, (cell, 0.0), (0.0, -cell))
        return finest.gsd_m * level.cell / cell

    def cropped(self, bounds: BBox | None) -> ServiceLayer | None:
        """Return the layer without what lies outside of `bounds`; None if nothing is left."""
        shared = self.bounds if bounds is None else self.bounds.intersection(bounds)
        return None if shared is None else replace(self, bounds=shared)


def pyramid(levels: Sequence[Level], base: int, bounds: BBox) -> list[tuple[Level, int]]:
    """Return a level and those coarser ones that are its overviews, each with its factor.

    Each factor is a multiple of the one before, so that all levels begin at one pixel.

    Args:
        levels: the finest first.
        base: number of the level.
        bounds: ground that is shown.
    """
    finest = levels[base]
    chosen = [(finest, 1)]
    longest = max(bounds.width, bounds.height) / finest.cell
    for level in levels[base + 1 :]:
        ratio = level.cell / finest.cell
        factor = round(ratio)
        last = chosen[-1][1]
        shift = (level.left - finest.left) / level.cell, (level.top - finest.top) / level.cell
        aligned = all(abs(part - round(part)) < _ALIGNED_PX for part in shift)
        if factor > last and factor % last == 0 and abs(ratio - factor) < _SAME_RATIO * factor and aligned:
            if longest / factor < _LEAST_OVERVIEW_PX:
                break
            chosen.append((level, factor))
    return chosen


def metres_per_unit(crs: CRS) -> float:
    """Return the factor between units of a CRS and metres that scale denominators assume (OGC 07-057r7, 6.1)."""
    parsed = _definition(crs)
    factor = float(parsed.axis_info[0].unit_conversion_factor)
    return factor * 6378137.0 if parsed.is_geographic else factor


def is_mercator(crs: CRS) -> bool:
    """Whether a CRS is Web Mercator."""
    return crs.to_epsg() in (3857, 900913, 3785)


def is_worldwide(crs: CRS) -> bool:
    """Whether a CRS is made for more than a country: degrees, Mercator and their like."""
    parsed = _definition(crs)
    area = parsed.area_of_use
    return parsed.is_geographic or is_mercator(crs) or (area is not None and area.east - area.west > _WIDEST)


def first_axis_is_north(crs: CRS) -> bool:
    """Whether the CRS has latitude, or northing, as its first axis by definition."""
    axes = _definition(crs).axis_info
    return bool(axes) and axes[0].direction.lower() in ("north", "south")


def _definition(crs: CRS) -> pyproj.CRS:
    code = crs.to_epsg()
    return pyproj.CRS.from_wkt(crs.to_wkt()) if code is None else pyproj.CRS.from_epsg(code)
