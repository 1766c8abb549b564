"""How seeding scales with the networks of a cluster, on one machine: each network sleeps instead of computing.

    make bench-cluster, or python -m benchmarks.cluster [--networks 1,2,4] [--rows 6]

Each network has as many metatiles to restore: twice as many networks seed twice the ground. A network that sleeps 2 s
a metatile needs no processor, so that a small machine can show what Ray, reading, encoding
and the one writer cost.
"""

from __future__ import annotations

import argparse
import os
import platform
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
from rasterio.windows import Window

from sr_model import PixelWindow
from tileserver.cluster.jobs import JobCluster, job_cluster
from tileserver.cluster.ranges import RANGE_ITEMS, RANGES_PER_NETWORK
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
ZOOM, GSD_M = 18, 0.5
# Pixels of the photograph that a metatile covers at its latitude.
GROUND_PX = 912
# Metatiles in a row of the block: a range.
COLUMNS = RANGE_ITEMS


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


def write_photo(path: Path, rows: int) -> None:
    """A flat photograph of so many rows of metatiles, which reads and encodes quickly, with a few edges."""
    # With one more on each side.
    width, height = ((count + 2) * GROUND_PX for count in (COLUMNS, rows))
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "width": width, "height": height, "crs": "EPSG:32618",
        "transform": Affine(GSD_M, 0, 620_000, 0, -GSD_M, 4_695_000), "tiled": True, "compress": "deflate",
    }  # fmt: skip
    values = np.full((3, GROUND_PX, width), 120, np.uint8)
    values[:, ::64] = 90
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(rows + 2):
            dataset.write(values, window=Window(0, row * GROUND_PX, width, GROUND_PX))
        dataset.build_overviews([2, 4, 8, 16, 32])


def block_of(service: TileService, rows: int) -> str:
    """A block of whole metatiles in the middle of the photograph, as --bbox takes it."""
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    window = pyramid.grid.covering(ZOOM, pyramid.extent)
    middle = PixelWindow(
        ((window.x + window.width // 2) // METATILE_PX - COLUMNS // 2) * METATILE_PX,
        ((window.y + window.height // 2) // METATILE_PX - rows // 2) * METATILE_PX,
        COLUMNS * METATILE_PX,
        rows * METATILE_PX,
    )
    left, bottom, right, top = pyramid.grid.bounds(ZOOM, middle.grown(-8))
    return ",".join(map(repr, transform_bounds("EPSG:3857", "EPSG:4326", left, bottom, right, top)))


def seed(cluster: JobCluster, service: TileService, output: Path, rows: int) -> tuple[float, int]:
    """Seed a block of so many rows of metatiles; returns the seconds of the run and its metatiles."""
    request = prepare.SeedRequest(format="jpg", zooms=(15, ZOOM), bbox=block_of(service, rows))
    plan = prepare.make_plan(service, request)
    assert plan.unit_count == COLUMNS * rows
    target = open_output(str(output), "jpg")
    journal = open_journal(target, prepare.describe(service, plan, request), OverwritePolicy())
    assert journal is not None
    units = UnitMaker(service, plan, request.encoding, target.deliver)
    started = time.monotonic()
    pool = cluster.seed_pool(service, plan, request.encoding, target, changed_only=False)
    outcome = Seeder(plan, units, target, journal, pool).run(lambda _: None)
    journal.close()
    seconds = time.monotonic() - started
    assert outcome.finished
    assert not outcome.tally.failures
    return seconds, outcome.tally.units_made


def measure(photo: Path, folder: Path, networks: int, rows: int) -> tuple[float, int]:
    """Seed the photograph with so many networks; returns seconds and metatiles.

    A first run of a range for each worker is not timed: the workers start and import what they need.
    """
    settings = Settings(
        source=str(photo),
        native_zoom=ZOOM,
        threads=THREADS,
        queue_size=64,
        deadline_s=3600.0,
        colours="photo",
        resolution=GSD_M,
        nodata="none",
    )
    with (
        job_cluster("local", networks, THREADS, SleepingNetwork) as cluster,
        closing(Shared(settings, cluster.open_network)) as shared,
        closing(TileService(settings, shared)) as service,
    ):
        seed(cluster, service, folder / f"{networks}-first.mbtiles", RANGES_PER_NETWORK * networks)
        return seed(cluster, service, folder / f"{networks}.mbtiles", rows)


def machine() -> str:
    """The processor, as far as speed depends on it, and what else it does."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    kind = next((name for name in ("amx_tile", "avx512f", "avx2") if name in flags), platform.machine())
    return f"{os.cpu_count()} cores, {kind}, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", default="1,2,4", help="how many, one run for each; the first is the measure"
    )
    parser.add_argument("--rows", type=int, default=6, help="ranges of metatiles to seed for each network")
    options = parser.parse_args()
    # Ray's workers are nice to all other programs, which is right for jobs and would be measured here.
    os.environ.setdefault("RAY_worker_niceness", "0")
    print(f"{now()}, {machine()}")
    print("| networks | metatiles | seconds | metatiles/s | efficiency |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    alone = 0.0
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "photo.tif"
        counts = list(map(int, options.networks.split(",")))
        write_photo(photo, options.rows * max(counts))
        for networks in counts:
            seconds, units = measure(photo, Path(name), networks, options.rows * networks)
            rate = units / seconds
            alone = alone or rate / networks
            print(
                f"| {networks} | {units} | {seconds:.1f} | {rate:.2f} | {rate / networks / alone:.2f} |",
                flush=True,
            )
    print(f"{now()}, {machine()}")


if __name__ == "__main__":
    main()
