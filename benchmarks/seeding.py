"""Measure the speed of `seed` and `restore` beside the network alone, and their memory on areas of 1 and 100 units.

Run: .venv/bin/python benchmarks/seeding.py speed [--of seed|restore] [--metatiles 6] [--device cpu] [--jobs 3]
     .venv/bin/python benchmarks/seeding.py memory [--of seed|restore] [--metatiles 2]

`speed` gives restored megapixels per second, without the halo: of the network alone on windows of a metatile and its
halo, in the server's runtime and in ONNX Runtime (float32); and of the command itself, end to end, into PMTiles with
all zooms or into a COG.
`memory` compares the peaks of two runs, each in a process of its own and with a network that does nothing, on squares
whose sides are as 1 to 10.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio
from affine import Affine

from sr_model import PixelWindow, Restorer, aligned_window
from sr_model.onnx_model import to_onnx
from sr_model.pixels import UInt8Array, normalise
from sr_model.runtimes import choose_runtime
from sr_model.shipped import bundled_weights_path
from sr_model.weights import load_weights
from tileserver.cli.main import main as cli
from tileserver.render.renderer import MARGIN_PX, trim_px
from tileserver.tiling.grid import METATILE_PX

DEMO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
TILE_PX = 2048
# Pixels of the photograph; restored ones are about half as large.
GSD_M = 0.6096
OUTPUTS = {"seed": "out.pmtiles", "restore": "out.tif"}


def free(restorer: Restorer, rgb: UInt8Array, photos: object) -> UInt8Array:  # noqa: ARG001
    """Stand in for `Restorer.restore`, at no cost: returns its input without the trim."""
    trim = trim_px(restorer.spec)
    return rgb[:, trim:-trim, trim:-trim]


def photograph(folder: Path, metatiles: int) -> Path:
    """Write a square photograph, one texture repeated by a VRT, that fills `metatiles` metatiles on a side."""
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
    side = metatiles * METATILE_PX // 2
    transform = Affine(GSD_M, 0, 600_000.0, 0, -GSD_M, 4_700_000.0)
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


def work(command: str, source: Path, output: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run `orthosharp seed` or `restore` in this process, and return its JSON summary."""
    arguments = [command, str(source), str(output), "--jobs", str(options.jobs), "--json"]
    arguments += ["--device", options.device, "--resolution", str(GSD_M)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli(arguments)
    summary: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    assert summary["event"] == "done", summary
    return summary


def raw_rates(device: str, rounds: int) -> dict[str, float]:
    """Return megapixels of metatiles per second of the network alone: in the server's runtime and in ONNX Runtime."""
    weights = load_weights(bundled_weights_path())
    metatile = PixelWindow(0, 0, METATILE_PX, METATILE_PX)
    outer = aligned_window(metatile, max(weights.spec.halo_px, MARGIN_PX), weights.spec.stride)
    window = np.random.default_rng(0).integers(0, 256, (1, outer.height, outer.width, 3)).astype(np.uint8)
    runtime = choose_runtime(weights, "auto", device, trim_px=trim_px(weights.spec))  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(to_onnx(weights), providers=["CPUExecutionProvider"])
    planes = normalise(window, weights.spec)
    works: dict[str, Callable[[], object]] = {
        "raw": lambda: runtime.forward(planes),
        "onnxruntime": lambda: session.run(["output"], {"input": planes}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(1 + rounds):
        for name, forward in works.items():
            start = time.perf_counter()
            forward()
            # The first pass allocates memory and is not counted.
            seconds[name] += [time.perf_counter() - start] if number else []
    return {name: METATILE_PX**2 / 1e6 / statistics.median(taken) for name, taken in seconds.items()}


def cpu_seconds() -> float:
    """Return the CPU time of all threads of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def speed(options: argparse.Namespace) -> dict[str, Any]:
    before = raw_rates(options.device, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        source = photograph(Path(folder), options.metatiles)
        busy = cpu_seconds()
        summary = work(options.of, source, Path(folder) / OUTPUTS[options.of], options)
        busy = (cpu_seconds() - busy) / (summary["seconds"] * (os.cpu_count() or 1))
    after = raw_rates(options.device, options.rounds)
    # The machine's speed may have changed meanwhile.
    alone = {name: (rate + after[name]) / 2 for name, rate in before.items()}
    rate = summary["megapixels_per_s"]
    return {
        "raw_megapixels_per_s": {name: [round(before[name], 3), round(after[name], 3)] for name in alone},
        f"{options.of}_megapixels_per_s": rate,
        **{f"{options.of} over {name}": round(rate / of, 3) for name, of in alone.items()},
        "share of the cores that was busy": round(busy, 3),
        "megapixels": round(summary["megapixels"]),
        "seconds": round(summary["seconds"], 1),
    }


def memory(options: argparse.Namespace) -> dict[str, Any]:
    peaks = []
    for metatiles in (options.metatiles, 10 * options.metatiles):
        given = {"metatiles": metatiles, "jobs": options.jobs, "of": options.of}
        command = [sys.executable, __file__, "peak"]
        command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        peaks.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    ratio = peaks[1]["peak_mb"] / peaks[0]["peak_mb"]
    return {"peaks": peaks, "100 times the ground over 1": round(ratio, 3)}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    # The command sets this too, but too late: GDAL writes the photograph first.
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    Restorer.restore = free  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        source = photograph(Path(folder), options.metatiles)
        summary = work(options.of, source, Path(folder) / OUTPUTS[options.of], options)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "megapixels": round(summary["megapixels"]),
        "seconds": round(summary["seconds"], 1),
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
    parser.add_argument("--of", choices=list(OUTPUTS), default="seed")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.metatiles = options.metatiles or {"speed": 6, "memory": 2, "peak": 2}[options.what]
    report = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    report |= {"speed": speed, "memory": memory, "peak": peak}[options.what](options)
    print(json.dumps(report, indent=None if options.what == "peak" else 2))


if __name__ == "__main__":
    main()
