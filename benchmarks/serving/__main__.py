"""Compare the server with nginx, MapProxy and titiler on the same machine, photograph and bytes, as ratios.

Run: make bench. MapProxy and titiler come from .venv-bench, nginx and wrk from the system. All traffic is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import mercantile

from benchmarks.serving.pipeline import clients, metatile
from benchmarks.serving.servers import Running, mapproxy, nginx, orthosharp, titiler
from benchmarks.serving.storm import storm
from benchmarks.serving.wrk import wrk
from tileserver.tiling.grid import METATILE_TILES

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "tileserver" / "demo" / "2010.tif"
# The viewport of a desktop: 8 x 6 tiles, which a browser requests over six connections.
COLUMNS, ROWS, CONNECTIONS = 8, 6, 6


def tiles_of(server: Running, place: int = 0) -> tuple[int, list[tuple[int, int]]]:
    """Return the zoom and the tiles of a viewport in the middle of the photograph, at its native zoom.

    Args:
        server: the server that shows the photograph.
        place: offset of the viewport from a metatile's corner, in tiles to the right and down.
    """
    config = httpx.get(f"{server.url}/config.json").json()
    zoom, (lon, lat, _) = config["native_zoom"], config["center"]
    middle = mercantile.tile(lon, lat, zoom)
    left, top = (
        (at - size // 2) // METATILE_TILES * METATILE_TILES + place
        for at, size in ((middle.x, COLUMNS), (middle.y, ROWS))
    )
    return zoom, [(left + i, top + j) for j in range(ROWS) for i in range(COLUMNS)]


def warm(python: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure one cached tile, as small WebP and large PNG, served by orthosharp, nginx and MapProxy in turns."""
    with tempfile.TemporaryDirectory() as place, orthosharp(PHOTO) as ours:
        folder = Path(place)
        folder.chmod(0o755)  # nginx reads as another user
        zoom, tiles = tiles_of(ours)
        x, y = tiles[len(tiles) // 2]
        path = f"/tiles/{zoom}/{x}/{y}.webp"
        large = path.replace(".webp", ".png")
        for name, one in (("tile.webp", path), ("tile.png", large)):
            (folder / name).write_bytes(httpx.get(ours.url + one, timeout=120).raise_for_status().content)
        sizes = {file.suffix[1:]: file.stat().st_size for file in folder.glob("tile.*")}
        with nginx(folder) as files, mapproxy(python, folder, ours.url) as proxy:
            proxied = f"{proxy.url}/tiles/restored/GLOBAL_WEBMERCATOR/{zoom}/{x}/{y}.webp"
            httpx.get(proxied, timeout=120).raise_for_status()
            urls = {
                "orthosharp": ours.url + path,
                "nginx": f"{files.url}/tile.webp",
                "mapproxy": proxied,
                "orthosharp, png": ours.url + large,
                "nginx, png": f"{files.url}/tile.png",
            }
            rates: dict[str, list[float]] = {who: [] for who in urls}
            for _ in range(rounds):
                for who, url in urls.items():
                    rates[who].append(wrk(url, seconds)["per_s"])
    median = {who: statistics.median(values) for who, values in rates.items()}
    return {
        "bytes": sizes,
        "per_s": median,
        "of nginx, webp (aim 0.5)": median["orthosharp"] / median["nginx"],
        "of nginx, png (aim 0.5)": median["orthosharp, png"] / median["nginx, png"],
        "of mapproxy (aim 1)": median["orthosharp"] / median["mapproxy"],
    }


async def fetch(urls: list[str]) -> float:
    """Return the seconds until all URLs are loaded, over as many connections as a browser opens."""
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, timeout=600) as client:
        start = time.perf_counter()
        for answer in await asyncio.gather(*map(client.get, urls)):
            assert answer.status_code in (200, 404), answer.status_code
        return time.perf_counter() - start


def cold(python: Path, rounds: int) -> dict[str, Any]:
    """Measure a viewport of fresh tiles: restored by orthosharp, and unchanged by titiler, each in a new process.

    A viewport may lie anywhere on the grid of metatiles: 8 x 6 tiles touch 4 to 9 of them, 6.2 on average over all
    sixteen offsets; the four offsets measured have the same average.
    """
    seconds: dict[str, list[float]] = {"orthosharp restored": [], "titiler untouched": []}
    for place in [*range(METATILE_TILES)] * rounds:
        with orthosharp(PHOTO) as ours:
            zoom, tiles = tiles_of(ours, place)
            urls = [f"{ours.url}/tiles/{zoom}/{x}/{y}.webp" for x, y in tiles]
            seconds["orthosharp restored"].append(asyncio.run(fetch(urls)))
        with titiler(python, PHOTO) as theirs:
            root = f"{theirs.url}/cog/tiles/WebMercatorQuad/{zoom}"
            urls = [f"{root}/{x}/{y}.webp?url={PHOTO}" for x, y in tiles]
            seconds["titiler untouched"].append(asyncio.run(fetch(urls)))
    mean = {who: statistics.mean(values) for who, values in seconds.items()}
    pairs = zip(seconds["orthosharp restored"], seconds["titiler untouched"], strict=True)
    return {
        "seconds for 48 tiles": mean,
        "of titiler, pair by pair": [ours / theirs for ours, theirs in pairs],
        "of titiler (aim 1)": mean["orthosharp restored"] / mean["titiler untouched"],
    }


def rounded(value: Any) -> Any:
    """Round floats to three significant digits, for the table."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--baselines",
        type=Path,
        default=ROOT / ".venv-bench/bin/python",
        help="the Python that has MapProxy and titiler",
    )
    parser.add_argument("--seconds", type=float, default=5, help="duration of each warm measurement")
    parser.add_argument("--storm-seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    works = ("warm", "cold", "metatile", "clients", "storm")
    parser.add_argument(
        "--photo", type=Path, default=PHOTO, help="photograph for metatile, clients and storm"
    )
    parser.add_argument("--weights", type=Path, help="weights for clients, instead of the bundled ones")
    parser.add_argument("--only", choices=works, action="append")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    options = parser.parse_args()
    compares = {"warm", "cold", "storm"} & set(options.only or works)
    missing = [
        tool for tool in ("wrk", "nginx") if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    ]
    if compares and missing:
        raise SystemExit(f"the benchmark needs these tools: apt-get install {' '.join(missing)}")
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "warm": lambda: warm(options.baselines, options.seconds, options.rounds),
        "cold": lambda: cold(options.baselines, max(1, options.rounds // 2)),
        "metatile": lambda: metatile(options.photo, max(5, options.rounds)),
        "clients": lambda: clients(options.photo, 2 * options.seconds, options.weights),
        "storm": lambda: storm(options.photo, options.storm_seconds),
    }
    report: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    }
    for name in options.only or works:
        report[name] = measure[name]()
        for what, value in report[name].items():
            print(f"{name:<8} {what:<48} {json.dumps(rounded(value))}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
