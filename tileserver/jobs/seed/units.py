"""Restore and encode units, the blocks of tiles that a seed run is made of; runs in threads, or on other machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tileserver.jobs.pool import Stop
from tileserver.jobs.retry import FAILURES, reason_of, with_retries
from tileserver.jobs.seed.output import Tiles
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.service import TileService
from tileserver.tiling.encode import Extension, encode
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.raster import Raster, area_average


@dataclass(frozen=True)
class TileEncoding:
    """Encoding of the tiles of a plan.

    Attributes:
        tms: tile matrix set.
        format, quality: format and quality of the images; without a quality, the server's.
        skip_empty: leave out tiles without data.
    """

    tms: str
    format: Extension
    quality: int | None = None
    skip_empty: bool = False


@dataclass(frozen=True)
class Unit:
    """A restored unit: its tiles, and its own image at half size; or the reason of its failure.

    Attributes:
        tiles: addresses and encoded images; the images are empty if the output needs none of them any more.
        quarter: the unit's image at half size, if a tile above needs it.
        nbytes: size of the encoded images.
        failure: why there are no tiles; empty if there are.
    """

    tiles: list[tuple[TileAddress, bytes]]
    quarter: Raster | None
    nbytes: int = 0
    failure: str = ""


class UnitMaker:
    """Makes the tiles of units.

    Args:
        service: renders tiles, as for HTTP.
        plan: which tiles to make.
        encoding: how to encode them.
        deliver: writes the tiles of a unit to their destination, if that is not the journal's business.
    """

    def __init__(
        self, service: TileService, plan: SeedPlan, encoding: TileEncoding, deliver: Callable[[Tiles], None]
    ) -> None:
        self._service = service
        self._plan = plan
        self._encoding = encoding
        self._deliver = deliver

    def make(self, unit: TileAddress, stop: Stop) -> Unit:
        """Restore and deliver a unit; a failure of the unit alone becomes part of the result.

        Raises:
            OutputError: the tiles cannot be written.
            SourceChangedError: the photograph was replaced during the run.
        """
        try:
            return with_retries(lambda: self._restore(unit), stop)
        except FAILURES as error:
            return Unit([], None, failure=reason_of(error))

    def image(self, tile: TileAddress) -> Raster:
        """Return the pixels of a tile; raises as `TileService.raster`."""
        return self._service.raster("restored", self._encoding.tms, tile.pixel_zoom, tile.window)

    def tile(self, tile: TileAddress, raster: Raster) -> tuple[TileAddress, bytes] | None:
        """Encode a tile; None if it is empty and left out."""
        if self._encoding.skip_empty and raster.is_empty:
            return None
        mark = self._service.mark("restored")
        body = encode(raster, self._encoding.format, self._encoding.quality, packet=mark)
        return (tile, body) if body else None

    def _restore(self, unit: TileAddress) -> Unit:
        tiles = [self.tile(tile, self.image(tile)) for tile in self._plan.tiles(unit)]
        written = [tile for tile in tiles if tile is not None]
        self._deliver(written)
        needed = self._plan.min_zoom < unit.z
        quarter = area_average(self.image(unit), 2) if needed else None
        return Unit(written, quarter, sum(len(body) for _, body in written))
