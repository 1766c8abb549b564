"""Estimate the time and size of a plan from a few of its units."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tileserver.jobs.retry import FAILURES
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.units import TileEncoding
from tileserver.service import TileService
from tileserver.tiling.encode import encode
from tileserver.tiling.grid import METATILE_PX, TILE_PX, TileAddress

SAMPLES: Final = 4
_LATTICE: Final = 16


@dataclass(frozen=True)
class SeedEstimate:
    """Estimated cost of a plan.

    Attributes:
        tiles: number of tiles by zoom.
        metatiles: metatiles to restore.
        megapixels: pixels to restore.
        nbytes: size of all tiles.
        seconds: duration of the run.
    """

    tiles: dict[int, int]
    metatiles: int
    megapixels: float
    nbytes: int
    seconds: float


def estimate(service: TileService, plan: SeedPlan, encoding: TileEncoding, jobs: int) -> SeedEstimate:
    """Restore and encode a few units spread over the area, without writing anything.

    Raises:
        ReadError, OverloadedError, sr_model.InferenceError: none of the units can be restored.
    """
    tiles = {zoom: plan.count(zoom) for zoom in range(plan.min_zoom, plan.max_zoom + 1)}
    units = sample_units(plan)
    started = time.perf_counter()

    def sizes(unit: TileAddress) -> list[int]:
        # The tile of the unit itself is a sample of the tiles above it as well.
        wanted = list(plan.tiles(unit)) or [unit]
        rasters = (service.raster("restored", encoding.tms, one.pixel_zoom, one.window) for one in wanted)
        mark = service.mark("restored")
        return [len(encode(raster, encoding.format, encoding.quality, packet=mark)) for raster in rasters]

    found: list[int] = []
    failure: Exception | None = None
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(sizes, unit) for unit in units]:
            try:
                found += future.result()
            except FAILURES as error:  # a damaged block in one unit does not affect the others
                failure = error
    if failure is not None and not found:
        raise failure
    seconds = (time.perf_counter() - started) / len(units)
    metatiles = plan.unit_count * plan.metatiles_per_unit
    return SeedEstimate(
        tiles=tiles,
        metatiles=metatiles,
        megapixels=metatiles * METATILE_PX**2 / 1e6,
        nbytes=round(sum(tiles.values()) * sum(found) / len(found)),
        seconds=plan.unit_count * seconds,
    )


def most_bytes(plan: SeedPlan) -> int:
    """Return an upper bound of the size of all tiles."""
    return plan.tile_count * (TILE_PX * plan.scale) ** 2 * 4


def sample_units(plan: SeedPlan) -> list[TileAddress]:
    """Return up to four units, spread over the area."""
    pyramid, zoom = plan.pyramid, plan.unit_zoom
    window = pyramid.grid.covering(zoom + plan.scale - 1, plan.area.bounds)
    size = TILE_PX * plan.scale
    found = {
        TileAddress(zoom, (window.x + i * window.width // _LATTICE) // size, y, plan.scale)
        for j in range(_LATTICE)
        for y in [(window.y + j * window.height // _LATTICE) // size]
        for i in range(_LATTICE)
    }
    wanted = sorted(tile for tile in found if plan.touches(tile))
    if not wanted:
        # The area is so narrow that the lattice misses it.
        return [next(tile for tile in plan.walk() if tile.z == zoom)]
    count = min(SAMPLES, len(wanted))
    return [wanted[(2 * part + 1) * len(wanted) // (2 * count)] for part in range(count)]
