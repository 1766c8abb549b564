"""How fast seeding is beside the network alone, and how much memory it takes on 1 and on 100 times the ground.

Run: .venv/bin/python benchmarks/seeding.py speed [--metatiles 6] [--device cpu] [--jobs 3]
     .venv/bin/python benchmarks/seeding.py memory [--metatiles 2]

`speed` gives megapixels of restored picture per second, halo not counted: of the network alone, fed with windows
of a metatile and its halo; and end to end, into PMTiles with all zooms. `memory` seeds squares whose sides are as
1 to 10, with a network that costs nothing, each in a process of its own, and compares their peaks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from sr_model import PixelWindow, Restorer, aligned_window
from sr_model.pixels import UInt8Array, normalise
from sr_model.runtimes import choose_runtime
from sr_model.weights import bundled_weights_path, load_weights
from tileserver.grid import METATILE_PX
from tileserver.render import MARGIN_PX
from tileserver.seed import prepare
from tileserver.seed.outputs import open_output
from tileserver.seed.run import Figures, Seeder
from tileserver.service import TileService
from tileserver.settings import Settings

DEMO = Path(__file__).parents[1] / "examples" / "demo" / "2010.tif"
TILE_PX = 2048


def free(_: Restorer, rgb: UInt8Array) -> UInt8Array:
    """A network that costs nothing: gives back what it gets."""
    return rgb


def photograph(folder: Path, metatiles: int, gsd_m: float) -> Path:
    """A square photograph of `metatiles` metatiles on a side: one piece of texture, repeated by a VRT."""
    random = np.random.default_rng(0)
    with rasterio.open(DEMO) as demo:
        piece = demo.read((1, 2, 3), out_shape=(3, TILE_PX, TILE_PX))
    piece = np.clip(piece + random.integers(-3, 4, piece.shape), 1, 255).astype(np.uint8)
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "width": TILE_PX,
        "height": TILE_PX,
        "tiled": True,
    }
    with rasterio.open(folder / "piece.tif", "w", compress="jpeg", photometric="ycbcr", **profile) as dataset:
        dataset.write(piece)
    # Pixels of Web Mercator at 42 degrees north that the network works at, so that nothing is resampled much.
    side = metatiles * METATILE_PX
    transform = Affine(gsd_m, 0, 600_000.0, 0, -gsd_m, 4_700_000.0)
    bands = []
    for band in (1, 2, 3):
        sources = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">piece.tif</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{TILE_PX}" ySize="{TILE_PX}"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="{TILE_PX}" ySize="{TILE_PX}"/></SimpleSource>'
            for y in range(0, side, TILE_PX)
            for x in range(0, side, TILE_PX)
        )
        bands.append(f'<VRTRasterBand dataType="Byte" band="{band}">{sources}</VRTRasterBand>')
    geo = ",".join(map(repr, transform.to_gdal()))
    text = (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32618</SRS>'
        f"<GeoTransform>{geo}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
    path = folder / "photo.vrt"
    path.write_text(text)
    return path


def seed(source: Path, output: Path, jobs: int, **settings: Any) -> Figures:
    """Seed all zooms up to the native one."""
    chosen = {
        "deadline_s": 3600.0,
        "cache_bytes": 18_000_000 * jobs,
        "queue_size": 2 * jobs,
        "open_datasets": jobs,
    }
    opened = TileService(Settings(source=str(source), **(chosen | settings)))
    wish = prepare.Wish()
    plan = prepare.make_plan(opened, wish)
    target = open_output(str(output), wish.format)
    description = prepare.describe(opened, plan, wish)
    journal = prepare.open_journal(target, description)
    assert journal is not None
    # Loading is not what is measured.
    opened.restorer.restore(np.zeros((1, 64, 64, 3), np.uint8))
    figures = Seeder(opened, plan, wish.recipe, target, journal, jobs).run(lambda _: None).figures
    target.finish(journal, description, again=False)
    opened.close()
    return figures


def raw_rate(device: str, rounds: int) -> float:
    """Megapixels of metatile per second through the network alone."""
    weights = load_weights(bundled_weights_path())
    metatile = PixelWindow(0, 0, METATILE_PX, METATILE_PX)
    outer = aligned_window(metatile, max(weights.spec.halo_px, MARGIN_PX), weights.spec.stride)
    window = np.random.default_rng(0).integers(0, 256, (1, outer.height, outer.width, 3)).astype(np.uint8)
    runtime = choose_runtime(weights, "auto", device)  # type: ignore[arg-type]
    planes = normalise(window, weights.spec)
    runtime.forward(planes)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        runtime.forward(planes)
        seconds.append(time.perf_counter() - start)
    return METATILE_PX**2 / 1e6 / statistics.median(seconds)


def speed(options: argparse.Namespace) -> dict[str, Any]:
    gsd_m = load_weights(bundled_weights_path()).spec.gsd_m
    before = raw_rate(options.device, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        source = photograph(Path(folder), options.metatiles, gsd_m)
        figures = seed(
            source, Path(folder) / "out.pmtiles", options.jobs, device=options.device, batch=options.batch
        )
    after = raw_rate(options.device, options.rounds)
    # The machine may have slowed down or sped up meanwhile.
    raw = (before + after) / 2
    rate = figures.megapixels / figures.seconds
    return {
        "raw_megapixels_per_s": [round(before, 3), round(after, 3)],
        "seeded_megapixels_per_s": round(rate, 3),
        "seeded over raw": round(rate / raw, 3),
        "tiles": figures.tiles,
        "seconds": round(figures.seconds, 1),
    }


def memory(options: argparse.Namespace) -> dict[str, Any]:
    peaks = []
    for metatiles in (options.metatiles, 10 * options.metatiles):
        command = [
            sys.executable,
            __file__,
            "peak",
            "--metatiles",
            str(metatiles),
            "--jobs",
            str(options.jobs),
        ]
        peaks.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    ratio = peaks[1]["peak_mb"] / peaks[0]["peak_mb"]
    return {"peaks": peaks, "100 times the ground over 1": round(ratio, 3)}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    Restorer.restore = free  # type: ignore[method-assign]
    gsd_m = load_weights(bundled_weights_path()).spec.gsd_m
    with tempfile.TemporaryDirectory() as folder:
        source = photograph(Path(folder), options.metatiles, gsd_m)
        figures = seed(source, Path(folder) / "out.pmtiles", options.jobs)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "megapixels": round(figures.megapixels),
        "seconds": round(figures.seconds, 1),
        "peak_mb": round(peak_mb, 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "memory", "peak"])
    parser.add_argument("--metatiles", type=int, help="side of the photograph")
    parser.add_argument("--jobs", type=int, default=max(3, os.cpu_count() or 1))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=1, help="metatiles that go through the network together")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.metatiles = options.metatiles or {"speed": 6, "memory": 2, "peak": 2}[options.what]
    report = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    report |= {"speed": speed, "memory": memory, "peak": peak}[options.what](options)
    print(json.dumps(report, indent=None if options.what == "peak" else 2))


if __name__ == "__main__":
    main()
