"""Compare the server with nginx, MapProxy and titiler on the same machine, photograph and bytes, as ratios.

Run: make bench. MapProxy and titiler come from .venv-bench, nginx and wrk from the system. All traffic is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import mercantile

from benchmarks.serving.pipeline import clients, metatile
from benchmarks.serving.servers import Running, mapproxy, nginx, orthosharp, titiler
from tileserver.tiling.grid import METATILE_TILES

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "demo" / "2010.tif"
# The viewport of a desktop: 8 x 6 tiles, which a browser requests over six connections.
COLUMNS, ROWS, CONNECTIONS = 8, 6, 6

# The storm requests STORM_TIMES as many tiles as can be made; it fills a cache of this size within seconds.
STORM_TIMES, STORM_CONNECTIONS, STORM_CACHE_BYTES = 10, 256, 64 * 2**20

# As usual with wrk, each thread has its own globals, which done() sums up.
STORM = """
local paths, threads = {{{paths}}}, {{}}
function delay() return {delay_ms} end
count, odd = 0, 0
function setup(thread) table.insert(threads, thread) end
function request() count = count + 1; return wrk.format("GET", paths[count % #paths + 1]) end
function response(status) if status ~= 200 and status ~= 503 then odd = odd + 1 end end
function done() local sum = 0; for _, t in ipairs(threads) do sum = sum + t:get("odd") end
  io.write("odd answers: " .. sum .. "\\n") end
"""


def wrk(url: str, seconds: float, *options: str) -> dict[str, float]:
    """Run wrk; return requests per second and the 99th percentile of the latency in milliseconds."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", "--latency", *options, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text)
    assert rate, text
    assert slow, text
    milliseconds = float(slow[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    return {"per_s": float(rate[1]), "p99_ms": milliseconds}


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
        "of nginx, webp (aim 0.35)": median["orthosharp"] / median["nginx"],
        "of nginx, png (aim 0.35)": median["orthosharp, png"] / median["nginx, png"],
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


def storm(seconds: float) -> dict[str, Any]:
    """Request ten times as many tiles as can be made, more than the cache can hold, and cached tiles meanwhile."""
    with (
        tempfile.TemporaryDirectory() as name,
        orthosharp(PHOTO, ORTHOSHARP_CACHE_BYTES=str(STORM_CACHE_BYTES)) as ours,
    ):
        zoom, tiles = tiles_of(ours)
        x, y = tiles[len(tiles) // 2]
        probe = f"{ours.url}/tiles/{zoom}/{x}/{y}.webp"
        httpx.get(probe, timeout=120).raise_for_status()
        before = wrk(probe, 2)
        bounds = httpx.get(f"{ours.url}/config.json").json()["bounds"]
        # Tiles that are large, slow to encode, and together larger than the tile cache.
        paths = [
            f"/restored/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}@2x.png"
            for tile in mercantile.tiles(*bounds, zoom + 1)
        ]
        script, texts = Path(name) / "storm.lua", ",".join(map(json.dumps, paths))
        script.write_text(STORM.format(paths=texts, delay_ms=0))
        capacity = wrk(ours.url, 10, "-c4", "-s", str(script))["per_s"]
        delay_ms = round(1000 * STORM_CONNECTIONS / (STORM_TIMES * capacity))
        script.write_text(STORM.format(paths=texts, delay_ms=delay_ms))
        attack = subprocess.Popen(
            ["wrk", "-t1", f"-c{STORM_CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script), ours.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(min(10.0, seconds / 4))
        first = ours.rss_bytes
        during = wrk(probe, max(2.0, seconds / 2), "-c2")
        output, _ = attack.communicate(timeout=seconds + 60)
        memory = ours.rss_bytes / first
        # The probed tile was not requested in the storm's second half, so it may have to be rendered again.
        started = time.perf_counter()
        answer = httpx.get(probe, timeout=120)
        first_s = time.perf_counter() - started
        time.sleep(max(0.0, 1 - first_s))
        after = wrk(probe, 2)
    odd, rate = re.search(r"odd answers: (\d+)", output), re.search(r"Requests/sec:\s+([\d.]+)", output)
    return {
        "requested per second": float(rate[1]) if rate else output,
        "can be made per second": capacity,
        "responses that are neither tile nor 503 (aim 0)": int(odd[1]) if odd else output,
        "memory at the end / at the start (aim 1.10)": memory,
        "p99 of cached tiles in ms (aim 50)": during["p99_ms"],
        "first response after the storm": f"{answer.status_code} after {first_s:.2f} s",
        "rate a second after / before (aim 1)": after["per_s"] / before["per_s"],
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
    parser.add_argument("--storm-seconds", type=float, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    works = ("warm", "cold", "metatile", "clients", "storm")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="photograph for metatile and clients")
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
        "storm": lambda: storm(options.storm_seconds),
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
