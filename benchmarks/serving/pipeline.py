"""Measure the cost of the pipeline beside the network: one cold metatile, and the rate with many clients."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rio_tiler.io import Reader

from sr_model import PixelWindow, Restorer, aligned_window, fill_nodata
from sr_model.pixels import UInt8Array
from tileserver.photo.view import View
from tileserver.render.renderer import with_margin
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.encode import encode
from tileserver.tiling.grid import METATILE_PX, METATILE_TILES, TileAddress

MERCATOR = "WebMercatorQuad"
CLIENTS = (1, 4, 16, 64)


def open_cold(photo: Path, weights: Path | None = None) -> tuple[TileService, View, list[TileRequest]]:
    """Return a service without cache, its view, and a tile of each metatile that lies mostly on the photograph."""
    service = TileService(
        Settings(source=str(photo), weights=weights, cache_bytes=0, queue_size=10_000, deadline_s=600)
    )
    service.warm_up()
    view = service.rasters.view("restored", MERCATOR)
    pyramid = view.pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    wanted = [
        TileAddress(pyramid.native_zoom, metatile.x // 256 + 1, metatile.y // 256 + 1)
        for metatile, part in pyramid.pieces(pyramid.native_zoom, extent)
        if part.width * part.height > METATILE_PX**2 / 2
    ]
    return service, view, [TileRequest("restored", MERCATOR, tile, "webp") for tile in wanted]


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def metatile(photo: Path, rounds: int) -> dict[str, Any]:
    """Measure a tile of an uncached metatile in the middle of the photograph, beside its steps one by one."""
    service, view, requests = open_cold(photo)
    request = requests[len(requests) // 2]
    x, y = (value // METATILE_TILES * METATILE_PX for value in (request.tile.x, request.tile.y))
    kept = with_margin(PixelWindow(x, y, METATILE_PX, METATILE_PX))
    spec = service.restorer.spec
    outer = aligned_window(kept, spec.halo_px - 4, spec.stride)
    old = view.read(view.pyramid.native_zoom, outer)
    window = fill_nodata(old.rgb, old.mask)[None]
    planes = np.random.default_rng(0).normal(size=(1, spec.planes, *window.shape[1:3])).astype(np.float32)
    shown = service.raster("restored", MERCATOR, request.tile.z, request.tile.window)
    parts: dict[str, Callable[[], object]] = {
        "cold tile": lambda: service.tile(request),
        "read": lambda: plain_read(photo, view, outer),
        "forward": lambda: service.restorer._runtime.forward(planes),
        "encode": lambda: encode(shown, request.extension),
    }
    # In turns, so that a machine that slows down affects all of them.
    rows = [{name: seconds(part) for name, part in parts.items()} for _ in range(rounds)]
    taken = {name: statistics.median(row[name] for row in rows) for name in parts}
    service.close()
    steps_s = sum(value for name, value in taken.items() if name != "cold tile")
    return {"seconds": taken, "of read + forward + encode (aim 1.15)": taken["cold tile"] / steps_s}


def plain_read(photo: Path, view: View, window: PixelWindow) -> UInt8Array:
    """Read a window as titiler does for a tile: rio-tiler's reader with a warp, in one thread."""
    bounds = view.pyramid.grid.bounds(view.pyramid.native_zoom, window)
    with Reader(str(photo)) as reader:
        image = reader.part(
            bounds,
            dst_crs=view.crs,
            bounds_crs=view.crs,
            width=window.width,
            height=window.height,
            indexes=(1, 2, 3),
            reproject_method="cubic",
        )
    pixels: UInt8Array = image.data
    return pixels


def network_alone(restorer: Restorer, side_px: int) -> float:
    """Return megapixels per second of the network, with its input already in the device's memory."""
    shape = (restorer.batch, restorer.spec.planes, side_px, side_px)
    planes = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    runtime: Any = restorer._runtime

    def forward() -> None:
        runtime.forward(planes)

    if "cuda" in restorer.runtime:
        on_device = torch.from_numpy(planes).cuda()

        def forward() -> None:
            with torch.inference_mode():
                runtime._infer(on_device)
            torch.cuda.synchronize()

    alone_s = min(seconds(forward) for _ in range(6))
    return restorer.batch * side_px**2 / 1e6 / alone_s


def clients(photo: Path, duration_s: float, weights: Path | None = None) -> dict[str, Any]:
    """Measure megapixels per second through the whole pipeline beside the network alone, by number of clients."""
    service, _, requests = open_cold(photo, weights)
    side = service._renderer.window_px
    raw_mpx_s = network_alone(service.restorer, side)
    report: dict[str, Any] = {
        "runtime": service.restorer.runtime,
        "metatiles": len(requests),
        "network alone, Mpx/s": raw_mpx_s,
    }
    for number in CLIENTS:
        before, end = service.metrics.inferences._value.get(), time.monotonic() + duration_s

        def visit(client: int, number: int = number, end: float = end) -> list[float]:
            latencies, turn = [], client
            while time.monotonic() < end:
                request = requests[turn % len(requests)]
                latencies.append(seconds(lambda request=request: service.tile(request)))  # type: ignore[misc]
                turn += number
            return latencies

        started = time.perf_counter()
        with ThreadPoolExecutor(number) as pool:
            latencies = sorted(one for visits in pool.map(visit, range(number)) for one in visits)
        inferences = service.metrics.inferences._value.get() - before
        rate = inferences * side**2 / 1e6 / (time.perf_counter() - started)
        report[f"{number} clients"] = {
            "Mpx/s": rate,
            "of network alone (aim 0.9)": rate / raw_mpx_s,
            "p50_ms": 1000 * latencies[len(latencies) // 2],
            "p99_ms": 1000 * latencies[int(0.99 * (len(latencies) - 1))],
        }
    service.close()
    return report
