"""How seeding scales with the networks of a cluster, on one machine: each network sleeps instead of computing.

    python -m benchmarks.cluster [--networks 1,2,4]

A network that sleeps 2 s a metatile needs no processor, so that a small machine can show what Ray, reading, encoding
and the one writer cost.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds

from sr_model import PixelWindow
from tileserver.cluster.jobs import job_cluster
from tileserver.jobs.progress import now
from tileserver.jobs.seed import prepare
from tileserver.jobs.seed.open_output import open_output
from tileserver.jobs.seed.resume import OverwritePolicy, open_journal
from tileserver.jobs.seed.seeder import Seeder
from tileserver.jobs.seed.units import UnitMaker
from tileserver.render.renderer import trim_px
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.tiling.grid import METATILE_PX

PASS_S = 2.0
THREADS = 3
# Metatiles along each side of the block: two ranges for each of four networks.
SIDE = 8


class SleepingNetwork:
    """A network that takes its time and returns what it was given."""

    batch = callers = 1
    runtime = "asleep"

    def __init__(self, weights: Any, *_: Any) -> None:
        self.spec, self.digest = weights.spec, weights.digest
        self._trim = trim_px(weights.spec)

    def warm_up(self, _: int) -> float:
        return PASS_S

    def restore(self, rgb: Any, _: Sequence[Any]) -> Any:
        time.sleep(PASS_S * len(rgb))
        inside = slice(self._trim, -self._trim or None)
        return np.ascontiguousarray(rgb[:, inside, inside])


def write_photo(path: Path, side_px: int) -> None:
    """A flat photograph, which reads and encodes quickly, with a few edges."""
    values = np.full((3, side_px, side_px), 120, np.uint8)
    values[:, ::64] = 90
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "width": side_px, "height": side_px, "crs": "EPSG:32618",
        "transform": Affine(0.5, 0, 620_000, 0, -0.5, 4_695_000), "tiled": True, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)


def block_of(service: TileService, side: int) -> str:
    """A block of whole metatiles in the middle of the photograph, as --bbox takes it."""
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    window = pyramid.grid.covering(18, pyramid.extent)
    middle = PixelWindow(
        (window.x + window.width // 2) // METATILE_PX * METATILE_PX - side // 2 * METATILE_PX,
        (window.y + window.height // 2) // METATILE_PX * METATILE_PX - side // 2 * METATILE_PX,
        side * METATILE_PX,
        side * METATILE_PX,
    )
    left, bottom, right, top = pyramid.grid.bounds(18, middle.grown(-8))
    return ",".join(map(repr, transform_bounds("EPSG:3857", "EPSG:4326", left, bottom, right, top)))


class Begun:
    """A pool that notes when the first result came: from then on, every process has opened the photograph."""

    def __init__(self, pool: Any) -> None:
        self._pool, self.ahead, self.close = pool, pool.ahead, pool.close
        self.first_s = 0.0

    def submit(self, item: Any) -> Any:
        pending = self._pool.submit(item)
        return Noted(pending, self)


class Noted:
    def __init__(self, pending: Any, begun: Begun) -> None:
        self._pending, self._begun = pending, begun

    def result(self) -> Any:
        found = self._pending.result()
        self._begun.first_s = self._begun.first_s or time.monotonic()
        return found


def seconds_of(photo: Path, output: Path, networks: int) -> tuple[float, int]:
    """Seed the photograph with so many networks; returns seconds and units."""
    limits = {
        "threads": THREADS,
        "queue_size": 64,
        "deadline_s": 3600.0,
        "colours": "photo",
        "resolution": 0.5,
    }
    settings = Settings(source=str(photo), native_zoom=18, **limits)
    with (
        job_cluster("local", networks, THREADS, SleepingNetwork) as cluster,
        closing(Shared(settings, cluster.open_network)) as shared,
        closing(TileService(settings, shared)) as service,
    ):
        request = prepare.SeedRequest(format="jpg", zooms=(15, 18), bbox=block_of(service, SIDE))
        plan = prepare.make_plan(service, request)
        assert plan.unit_count == SIDE**2
        target = open_output(str(output), "jpg")
        journal = open_journal(target, prepare.describe(service, plan, request), OverwritePolicy())
        assert journal is not None
        units = UnitMaker(service, plan, request.encoding, target.deliver)
        pool = cluster.seed_pool(service, plan, request.encoding, target, changed_only=False)
        begun = Begun(pool)
        outcome = Seeder(plan, units, target, journal, begun).run(lambda _: None)
        seconds = time.monotonic() - begun.first_s
        journal.close()
        assert outcome.finished
        # What the others had made as well when the first result came.
        return seconds, outcome.tally.units_made - networks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default="1,2,4")
    parser.add_argument("--side", type=int, default=9600, help="side of the photograph in pixels")
    options = parser.parse_args()
    print(
        f"{now()}\n| networks | metatiles | seconds | metatiles/s | efficiency |\n| --- | --- | --- | --- | --- |"
    )
    alone = 0.0
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "photo.tif"
        write_photo(photo, options.side)
        for networks in map(int, options.networks.split(",")):
            seconds, units = seconds_of(photo, Path(name) / f"{networks}.mbtiles", networks)
            rate = units / seconds
            alone = alone or rate / networks
            print(
                f"| {networks} | {units} | {seconds:.1f} | {rate:.2f} | {rate / networks / alone:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
