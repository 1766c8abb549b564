"""Measure encoders on restored tiles of the demo: milliseconds and bytes a tile, and for lossy ones the error.

Encoders of packages that are not installed are left out: pip install imagecodecs isal opencv-python-headless

Run: .venv/bin/python -m benchmarks.encoding [--tiles 24] [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from sr_model.pixels import UInt8Array
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.encode import encode
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.layer import WEB_MERCATOR
from tileserver.tiling.raster import Raster

DEMO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
Encoder = Callable[[UInt8Array], bytes]


def restored_tiles(count: int) -> list[UInt8Array]:
    """Return restored tiles of the demo, uint8 [256, 256, 3], spread over the photograph at its native zoom."""
    service = TileService(Settings(source=str(DEMO), device="cpu"))
    try:
        pyramid = service.rasters.view("restored", WEB_MERCATOR).pyramid
        zoom = pyramid.native_zoom
        inside = pyramid.grid.covering(zoom, pyramid.extent)
        columns = range(-(-inside.x // 256), inside.right // 256)
        rows = range(-(-inside.y // 256), inside.bottom // 256)
        # By metatiles, so that none is restored twice.
        places = sorted((y // 4, x // 4, y, x) for y in rows for x in columns)
        chosen = places[:: max(1, len(places) // count)][:count]
        windows = [TileAddress(zoom, x, y).window for _, _, y, x in chosen]
        rasters = [service.raster("restored", WEB_MERCATOR, zoom, window) for window in windows]
        return [raster.rgb for raster in rasters if raster.is_full]
    finally:
        service.close()


def pillow(driver: str, **options: Any) -> Encoder:
    """Return an encoder of Pillow."""

    def run(rgb: UInt8Array) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, driver, **options)
        return buffer.getvalue()

    return run


def opencv(suffix: str, **options: int) -> Encoder:
    """Return an encoder of OpenCV, whose colours are in another order."""
    cv2 = importlib.import_module("cv2")
    flags = [number for name, value in options.items() for number in (getattr(cv2, name), value)]
    return lambda rgb: bytes(cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1])


def imagecodecs(function: str, **options: Any) -> Encoder:
    """Return an encoder of imagecodecs."""
    encoder = getattr(importlib.import_module("imagecodecs"), function)
    return lambda rgb: bytes(encoder(rgb, **options))


def own_png(module: str, level: int) -> Encoder:
    """Return the server's PNG encoder with a compressor, `compress(data, level)` of a module."""
    from tileserver.tiling import png

    compress = importlib.import_module(module).compress
    return lambda rgb: png.encode_png(rgb, lambda data: compress(data, level))


def encoders() -> Iterator[tuple[str, str, Callable[[], Encoder]]]:
    """Yield format, name and maker of each encoder."""
    for level in (1, 3, 6, 9):
        yield "png", f"Pillow, level {level}", lambda level=level: pillow("PNG", compress_level=level)
    for level in (1, 3, 6):
        yield (
            "png",
            f"OpenCV, level {level}",
            lambda level=level: opencv(".png", IMWRITE_PNG_COMPRESSION=level),
        )
    for function in ("png_encode", "spng_encode"):
        for level in (1, 3, 6):
            name = f"imagecodecs.{function}, level {level}"
            yield (
                "png",
                name,
                lambda function=function, level=level: imagecodecs(function, level=level),
            )
    for module, levels in (
        ("zlib", (1, 6)),
        ("zlib_ng.zlib_ng", (1, 2, 3, 6)),
        ("isal.isal_zlib", (0, 1, 2, 3)),
    ):
        for level in levels:
            yield "png", f"own rows, {module}, level {level}", lambda m=module, n=level: own_png(m, n)
    for method in range(7):
        name = f"Pillow, quality 85, method {method}"
        yield "webp", name, lambda method=method: pillow("WEBP", quality=85, method=method)
    yield "webp", "OpenCV, quality 85", lambda: opencv(".webp", IMWRITE_WEBP_QUALITY=85)
    for method in (0, 1, 2, 4):
        name = f"imagecodecs, quality 85, method {method}"
        yield (
            "webp",
            name,
            lambda method=method: imagecodecs("webp_encode", level=85, lossless=False, method=method),
        )
    yield "jpg", "Pillow, quality 88, 4:4:4", lambda: pillow("JPEG", quality=88, subsampling=0)
    yield "jpg", "Pillow, quality 88, 4:2:0", lambda: pillow("JPEG", quality=88, subsampling=2)
    name = "Pillow, quality 88, 4:4:4, optimised"
    yield "jpg", name, lambda: pillow("JPEG", quality=88, subsampling=0, optimize=True)
    yield (
        "jpg",
        "imagecodecs, quality 88, 4:4:4",
        lambda: imagecodecs("jpeg8_encode", level=88, subsampling="444"),
    )
    yield "jpg", "OpenCV, quality 88, 4:2:0", lambda: opencv(".jpg", IMWRITE_JPEG_QUALITY=88)


def psnr_db(tiles: list[UInt8Array], encoded: list[bytes]) -> float:
    """Return the peak signal-to-noise ratio over all tiles, in dB; infinite where they are the same."""
    errors = [
        np.mean((np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float64) - rgb) ** 2)
        for rgb, body in zip(tiles, encoded, strict=True)
    ]
    mean = float(np.mean(errors))
    return float("inf") if mean == 0 else 10 * float(np.log10(255**2 / mean))


def measure(encoder: Encoder, tiles: list[UInt8Array], rounds: int) -> dict[str, float]:
    """Return milliseconds (median of the rounds' means), kilobytes, and the error."""
    encoded = [encoder(rgb) for rgb in tiles]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for rgb in tiles:
            encoder(rgb)
        times.append((time.perf_counter() - start) / len(tiles) * 1000)
    return {
        "ms": round(statistics.median(times), 2),
        "kB": round(sum(map(len, encoded)) / len(tiles) / 1000, 1),
        "psnr_db": round(psnr_db(tiles, encoded), 2),
    }


def processor() -> str:
    """Return the processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    tiles = restored_tiles(options.tiles)
    zlib_ng = features.version("zlib") if features.check_feature("zlib_ng") else "no"
    print(f"{len(tiles)} tiles, {processor()}, Pillow {version('pillow')} (zlib-ng: {zlib_ng})\n")
    print("| format | encoder | ms a tile | kB a tile | PSNR |\n| --- | --- | --: | --: | --: |")
    found: dict[str, dict[str, float]] = {}
    served: list[tuple[str, str, Callable[[], Encoder]]] = [
        (extension, "as served", lambda extension=extension: as_served(extension))  # type: ignore[misc]
        for extension in ("png", "webp", "jpg")
    ]
    for extension, name, make in [*encoders(), *served]:
        try:
            encoder = make()
        except (ImportError, AttributeError):
            continue
        figures = found[f"{extension}: {name}"] = measure(encoder, tiles, options.rounds)
        quality = "" if extension == "png" else f"{figures['psnr_db']:.2f} dB"
        print(f"| {extension} | {name} | {figures['ms']:.2f} | {figures['kB']:.1f} | {quality} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


def as_served(extension: Any) -> Encoder:
    """Return what the server encodes with, without its mark of AI."""

    def run(rgb: UInt8Array) -> bytes:
        window = TileAddress(0, 0, 0).window
        return encode(Raster(window, rgb, np.full(rgb.shape[:2], 255, np.uint8)), extension)

    return run


if __name__ == "__main__":
    main()
