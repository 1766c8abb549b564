"""Which tiles, and in which order: pure arithmetic.

The order is that of a Hilbert curve over a quadtree, children before parents. A *unit* is the tile that one
block of metatiles fills exactly (one metatile, or 2 x 2 of them at scale 2), together with all tiles below it.
Whoever walks needs to remember no more than one branch of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pmtiles.tile import zxy_to_tileid

from tileserver.jobs.area import Area
from tileserver.tiling.grid import Pyramid, TileAddress


@dataclass(frozen=True)
class SeedPlan:
    """Tiles of some zooms over some ground.

    Attributes:
        pyramid: of the layer.
        area: wanted ground.
        min_zoom, max_zoom: wanted zooms, both included.
        scale: 1 for tiles of 256 px, 2 for 512 px.
    """

    pyramid: Pyramid
    area: Area
    min_zoom: int
    max_zoom: int
    scale: int = 1

    @property
    def unit_zoom(self) -> int:
        """Zoom of the tiles that a block of metatiles fills."""
        return max(0, self.pyramid.min_metatile_zoom - (self.scale - 1))

    def walk(self) -> Iterator[TileAddress]:
        """Units and the wanted tiles above them, children before parents, along the curve."""
        grid = self.pyramid.grid
        for row in range(grid.rows0):
            for column in range(grid.columns0):
                yield from self._walk(TileAddress(0, column, row, self.scale), column, row)

    def tiles(self, unit: TileAddress) -> Iterator[TileAddress]:
        """The wanted tiles of a unit, the unit's own included, finest first."""
        for zoom in range(self.max_zoom, max(self.min_zoom, unit.z) - 1, -1):
            side = 1 << (zoom - unit.z)
            for y in range(unit.y * side, (unit.y + 1) * side):
                for x in range(unit.x * side, (unit.x + 1) * side):
                    tile = TileAddress(zoom, x, y, self.scale)
                    if self.touches(tile):
                        yield tile

    def touches(self, tile: TileAddress) -> bool:
        """Whether the tile shows any of the wanted ground."""
        return self.area.touches(self.pyramid.grid.bounds(tile.pixel_zoom, tile.window))

    def shows_photograph(self, tile: TileAddress) -> bool:
        """Whether the tile shows any of the photograph, be it wanted or not."""
        if self.area.is_whole:
            return self.touches(tile)
        return self.pyramid.touches(tile.pixel_zoom, tile.window)

    def count(self, zoom: int) -> int:
        """How many tiles of a zoom are wanted; takes time by the area's outline only."""
        grid = self.pyramid.grid
        roots = [(column, row) for row in range(grid.rows0) for column in range(grid.columns0)]
        return sum(self._count(TileAddress(0, column, row, self.scale), zoom) for column, row in roots)

    @property
    def tile_count(self) -> int:
        """How many tiles are wanted."""
        return sum(self.count(zoom) for zoom in range(self.min_zoom, self.max_zoom + 1))

    @property
    def unit_count(self) -> int:
        """How many units have to be restored for them."""
        return self.count(self.unit_zoom)

    @property
    def metatiles_per_unit(self) -> int:
        """How many metatiles fill a unit."""
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
    """The four tiles of the next zoom that show the same ground."""
    return [
        TileAddress(tile.z + 1, 2 * tile.x + across, 2 * tile.y + down, tile.scale)
        for down in (0, 1)
        for across in (0, 1)
    ]
