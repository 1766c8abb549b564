"""Overload: ten times as many restored tiles as can be made, and what becomes of visitors who want other tiles."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import mercantile

from benchmarks.serving.servers import Running, orthosharp
from benchmarks.serving.wrk import wrk
from tileserver.tiling.grid import METATILE_TILES

# The storm requests TIMES as many tiles as can be made; it fills a cache of this size within seconds.
TIMES, CONNECTIONS, CACHE_BYTES = 10, 512, 64 * 2**20
# On a machine that makes a tile in seconds, ten times as many would be no storm.
LEAST_PER_S = 100
# Old tiles that a visitor requests meanwhile.
OLD_PER_S = 4

# As usual with wrk, each thread has its own globals, which done() sums up.
SCRIPT = """
local paths, threads = {{{paths}}}, {{}}
function delay() return {delay_ms} end
count, odd, made = 0, 0, 0
function setup(thread) table.insert(threads, thread) end
function request() count = count + 1; return wrk.format("GET", paths[count * 7919 % #paths + 1]) end
function response(status)
  if status == 200 then made = made + 1 elseif status ~= 503 then odd = odd + 1 end
end
function done() local o, m = 0, 0
  for _, t in ipairs(threads) do o = o + t:get("odd"); m = m + t:get("made") end
  io.write("odd answers: " .. o .. "\\nmade: " .. m .. "\\n") end
"""


class OldTiles(threading.Thread):
    """A visitor who pans over the old photograph; collects seconds and statuses of the answers."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(daemon=True)
        self.urls, self.stop = urls, threading.Event()
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        """Request tiles, one after the other, until `stop`."""
        with httpx.Client(timeout=120) as client:
            for number in range(10**6):
                begun = time.perf_counter()
                self.statuses[client.get(self.urls[number % len(self.urls)]).status_code] += 1
                self.seconds.append(time.perf_counter() - begun)
                if self.stop.wait(1 / OLD_PER_S):
                    return

    def end(self) -> dict[str, Any]:
        """Stop; return median, 99th percentile and statuses."""
        self.stop.set()
        self.join()
        ordered = sorted(self.seconds)
        return {
            "median_ms": 1000 * ordered[len(ordered) // 2],
            "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
            "statuses": dict(self.statuses),
        }


def metatile_of(tile: mercantile.Tile, zoom: int) -> tuple[int, int]:
    """Return column and row of the metatile of a tile, at `zoom` or finer."""
    side = METATILE_TILES << (tile.z - zoom)
    return tile.x // side, tile.y // side


def places(server: Running) -> tuple[int, list[mercantile.Tile], list[tuple[int, int]]]:
    """Return the native zoom, its tiles, and the metatiles that have most tiles, largest first."""
    config = httpx.get(f"{server.url}/config.json").json()
    zoom = config["native_zoom"]
    tiles = list(mercantile.tiles(*config["bounds"], zoom))
    counts = Counter(metatile_of(tile, zoom) for tile in tiles)
    return zoom, tiles, [metatile for metatile, _ in counts.most_common()]


def seconds_of(url: str) -> tuple[float, int]:
    """Return how long an answer takes, and its status."""
    begun = time.perf_counter()
    status = httpx.get(url, timeout=120).status_code
    return time.perf_counter() - begun, status


def storm(photo: Path, seconds: float) -> dict[str, Any]:
    """Request ten times as many tiles as can be made, more than the cache can hold; cached and old tiles meanwhile."""
    with (
        tempfile.TemporaryDirectory() as name,
        orthosharp(photo, ORTHOSHARP_CACHE_BYTES=str(CACHE_BYTES)) as ours,
    ):
        zoom, tiles, metatiles = places(ours)
        of = {one: [tile for tile in tiles if metatile_of(tile, zoom) == one] for one in metatiles[:3]}
        # One metatile is measured before, one is the first after the storm, and one has the tile that stays cached.
        before, after, warm = (f"{ours.url}/tiles/{zoom}/{t[0].x}/{t[0].y}.webp" for t in of.values())
        metatile_s = seconds_of(before)[0]
        httpx.get(warm, timeout=120).raise_for_status()
        idle = wrk(warm, 2)
        old = [f"{ours.url}/old/tiles/WebMercatorQuad/{t.z}/{t.x}/{t.y}.png" for t in tiles]
        visitor = OldTiles(old)
        visitor.start()
        time.sleep(5)
        old_before = visitor.end()
        # Tiles that are large, slow to encode, and together larger than the tile cache.
        bounds = httpx.get(f"{ours.url}/config.json").json()["bounds"]
        paths = [
            f"/restored/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}@2x.png"
            for tile in mercantile.tiles(*bounds, zoom + 1)
            if metatile_of(tile, zoom) != metatiles[1]
        ]
        script, texts = Path(name) / "storm.lua", ",".join(map(json.dumps, paths))
        script.write_text(SCRIPT.format(paths=texts, delay_ms=0))
        capacity = wrk(ours.url, 10, "-c4", "-s", str(script))["per_s"]
        delay_ms = round(1000 * CONNECTIONS / max(TIMES * capacity, LEAST_PER_S))
        script.write_text(SCRIPT.format(paths=texts, delay_ms=delay_ms))
        attack = subprocess.Popen(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script), ours.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(min(10.0, seconds / 4))
        first = ours.rss_bytes
        visitor = OldTiles(old)
        visitor.start()
        during = wrk(warm, max(2.0, seconds / 2), "-c2")
        old_during = visitor.end()
        output, _ = attack.communicate(timeout=seconds + 60)
        memory = ours.rss_bytes / first
        first_s, status = seconds_of(after)
        time.sleep(1)
        httpx.get(warm, timeout=120).raise_for_status()
        again = wrk(warm, 2)
    odd, made = re.search(r"odd answers: (\d+)", output), re.search(r"made: (\d+)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    return {
        "requested per second": float(rate[1]) if rate else output,
        "can be made per second": capacity,
        "made per second during the storm": int(made[1]) / seconds if made else output,
        "responses that are neither tile nor 503 (aim 0)": int(odd[1]) if odd else output,
        "memory at the end / at the start (aim 1.10)": memory,
        "p99 of cached tiles in ms (aim 50)": during["p99_ms"],
        "old tiles before": old_before,
        "old tiles during (aim: all answered)": old_during,
        "seconds of a metatile before": metatile_s,
        "first new metatile after the storm / before (aim 2)": first_s / metatile_s,
        "status of that": status,
        "rate of cached tiles a second after / before (aim 1)": again["per_s"] / idle["per_s"],
    }
