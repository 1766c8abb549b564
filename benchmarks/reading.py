"""Measure what reading a metatile's window costs: in one pass of our own, in GDAL's warper, and decoding alone.

Run: .venv/bin/python -m benchmarks.reading [--photo FILE] [--rounds 9]

Gives seconds of processor time, medians of rounds in turns; a metatile is read with a halo of 112 px. The photograph's
blocks have been decoded before, except for `decode`, which reads those of the window from a file that was just opened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import morecantile
import rasterio
from affine import Affine
from rasterio.windows import Window

from sr_model import PixelWindow
from sr_model.resampling import find_positions
from tileserver.photo import smooth_warp, warp
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.grid import METATILE_PX

DEMO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
HALO_PX = 112


def instructions() -> str:
    """Return the widest vector instructions that the processor names."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return next((name for name in ("amx_tile", "avx512f", "avx2") if name in flags), platform.machine())


def processor_s(work: Callable[[], object]) -> float:
    """Return the processor time that a call takes, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def middle(view: View) -> PixelWindow:
    """Return the window of a metatile and its halo in the middle of a photograph."""
    extent = view.pyramid.grid.covering(view.pyramid.native_zoom, view.pyramid.extent)
    x, y = (
        (first + length // 2) // METATILE_PX * METATILE_PX
        for first, length in ((extent.x, extent.width), (extent.y, extent.height))
    )
    return PixelWindow(x, y, METATILE_PX, METATILE_PX).grown(HALO_PX)


def decoded(view: View, window: PixelWindow) -> Callable[[], object]:
    """Return work that decodes the blocks of a window, from a file that is not open yet."""
    source, cell = view.source, view.pyramid.grid.cell(view.pyramid.native_zoom)
    grid = view.pyramid.grid
    matrix = Affine(cell, 0, grid.left + window.x * cell, 0, -cell, grid.top - window.y * cell)
    with rasterio.open(source.path) as dataset:
        options = {"crs": view.crs, "src_crs": source.info.crs, "transform": matrix}
        positions = find_positions(smooth_warp._mapping(dataset, options), (window.height, window.width))
    assert positions is not None
    reach = positions.reach

    def read() -> None:
        with rasterio.open(source.path) as dataset:
            dataset.read(source.bands, window=Window(reach.x, reach.y, reach.width, reach.height))

    return read


def measure(photo: Path, rounds: int) -> dict[str, Any]:
    """Measure one photograph."""
    view = View.of_tms(Source.open(str(photo)), morecantile.tms.get("WebMercatorQuad"), OutputScale(0.3048))
    window, zoom = middle(view), view.pyramid.native_zoom
    own, gdal = warp.warp_smooth, lambda *_: False
    taken = []

    def read(how: Callable[..., bool]) -> None:
        warp.warp_smooth = how  # type: ignore[assignment]
        view.read(zoom, window)

    works: dict[str, Callable[[], object]] = {
        "own": lambda: read(own),
        "gdal": lambda: read(gdal),
        "decode": decoded(view, window),
    }
    read(lambda *given: taken.append(own(*given)) or taken[-1])
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(processor_s(work))
    warp.warp_smooth = own
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "megapixels": round(window.area_px / 1e6, 2),
        "whole window in our own pass": all(taken),
        "processor seconds": {name: round(value, 4) for name, value in medians.items()},
        "gdal over own": round(medians["gdal"] / medians["own"], 2),
    }


def start_s(rounds: int) -> float:
    """Return the processor time that import and load of the kernel take in a new process, from numba's cache."""
    program = (
        "import time, numpy; from sr_model import resampling; start = time.process_time(); "
        "resampling.warm_up(); print(time.process_time() - start)"
    )
    found = []
    for _ in range(1 + rounds):
        run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        found.append(float(run.stdout))
    return round(statistics.median(found[1:]), 2)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    report = {"machine": f"{instructions()}, {os.cpu_count()} cores"}
    report |= measure(options.photo, options.rounds)
    report["seconds to load the kernel"] = start_s(3)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
