"""The tiles to make, and their order: pure arithmetic.

The order follows a Hilbert curve over a quadtree, children before parents. A *unit* is a tile that a block of
metatiles covers exactly (one metatile, or 2 x 2 of them at scale 2), together with all tiles below it. A walk along the
curve needs to remember a single branch of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pmtiles.tile import zxy_to_tileid

from tileserver.jobs.area import Area
from tileserver.tiling.grid import Pyramid, TileAddress


@dataclass(frozen=True)
class SeedPlan:
    """The tiles of a range of zooms within an area.

    Attributes:
        pyramid: the layer's pyramid.
        area: the area to seed.
        min_zoom, max_zoom: first and last zoom.
        scale: 1 for tiles of 256 px, 2 for tiles of 512 px.
    """

    pyramid: Pyramid
    area: Area
    min_zoom: int
    max_zoom: int
    scale: int = 1

    @property
    def unit_zoom(self) -> int:
        """Zoom of the tiles that a block of metatiles covers."""
        return max(0, self.pyramid.min_metatile_zoom - (self.scale - 1))

    def walk(self) -> Iterator[TileAddress]:
        """Yield units and the tiles of the plan above them, children before parents, along the curve."""
        grid = self.pyramid.grid
        for row in range(grid.rows0):
            for column in range(grid.columns0):
                yield from self._walk(TileAddress(0, column, row, self.scale), column, row)

    def tiles(self, unit: TileAddress) -> Iterator[TileAddress]:
        """Yield the tiles of the plan in a unit, including the unit's own, finest zoom first."""
        for zoom in range(self.max_zoom, max(self.min_zoom, unit.z) - 1, -1):
            side = 1 << (zoom - unit.z)
            for y in range(unit.y * side, (unit.y + 1) * side):
                for x in range(unit.x * side, (unit.x + 1) * side):
                    tile = TileAddress(zoom, x, y, self.scale)
                    if self.touches(tile):
                        yield tile

    def touches(self, tile: TileAddress) -> bool:
        """Return whether a tile intersects the area."""
        return self.area.touches(self.pyramid.grid.bounds(tile.pixel_zoom, tile.window))

    def shows_photograph(self, tile: TileAddress) -> bool:
        """Return whether a tile intersects the photograph, inside or outside the area."""
        if self.area.is_whole:
            return self.touches(tile)
        return self.pyramid.touches(tile.pixel_zoom, tile.window)

    def count(self, zoom: int) -> int:
        """Return the number of tiles of a zoom; the time it takes depends on the length of the area's outline."""
        grid = self.pyramid.grid
        roots = [(column, row) for row in range(grid.rows0) for column in range(grid.columns0)]
        return sum(self._count(TileAddress(0, column, row, self.scale), zoom) for column, row in roots)

    @property
    def tile_count(self) -> int:
        """Number of tiles."""
        return sum(self.count(zoom) for zoom in range(self.min_zoom, self.max_zoom + 1))

    @property
    def unit_count(self) -> int:
        """Number of units to restore."""
        return self.count(self.unit_zoom)

    @property
    def metatiles_per_unit(self) -> int:
        """Number of metatiles in a unit."""
        return self.scale**2

    def _walk(self, tile: TileAddress, root_x: int, root_y: int) -> Iterator[TileAddress]:
        if not self.touches(tile):
            return
        if tile.z == self.unit_zoom:
            yield tile
            return

        def along(child: TileAddress) -> int:
            return zxy_to_tileid(child.z, child.x - (root_x << child.z), child.y - (root_y << child.z))

        for child in sorted(children(tile), key=along):
            yield from self._walk(child, root_x, root_y)
        if self.min_zoom <= tile.z <= self.max_zoom:
            yield tile

    def _count(self, tile: TileAddress, zoom: int) -> int:
        bounds = self.pyramid.grid.bounds(tile.pixel_zoom, tile.window)
        if not self.area.touches(bounds):
            return 0
        if tile.z == zoom:
            return 1
        if self.area.covers(bounds):
            return 1 << (2 * (zoom - tile.z))
        return sum(self._count(child, zoom) for child in children(tile))


def children(tile: TileAddress) -> list[TileAddress]:
    """Return the four tiles of the next zoom that cover the same ground."""
    return [
        TileAddress(tile.z + 1, 2 * tile.x + across, 2 * tile.y + down, tile.scale)
        for down in (0, 1)
        for across in (0, 1)
    ]
