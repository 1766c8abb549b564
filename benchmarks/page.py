"""How long the page takes, cold: to the whole old picture, and to the first and the last restored tile.

Run: `python -m benchmarks.page [--load N] [--shots FOLDER]`. Starts the server on the demo photograph with nothing
cached, opens the page in Chromium, and prints seconds from the request for the page. `--load` adds visitors that pan
over the photograph at the same time; `--shots` writes a screenshot every half second, which itself takes time.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import mercantile
from playwright.sync_api import Request, sync_playwright

from benchmarks.serving.servers import orthosharp

PHOTO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
LONGEST_S = 120
SHOT_S = 0.5


def pan(url: str, config: dict[str, object], ended: threading.Event, seed: int) -> None:
    """Request restored tiles at random, one after the other, until the measurement has ended."""
    chance = random.Random(seed)
    west, south, east, north = config["bounds"]  # type: ignore[misc]
    with httpx.Client(timeout=60) as client:
        while not ended.is_set():
            lng, lat = chance.uniform(west, east), chance.uniform(south, north)
            tile = mercantile.tile(lng, lat, int(str(config["native_zoom"])))
            client.get(f"{url}/restored/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.webp")
            ended.wait(0.1)


def measure(load: int, shots: Path | None) -> dict[str, float | int]:
    """Return seconds until the tiles had arrived, and how many there were."""
    done: dict[str, list[float]] = {"old": [], "restored": []}
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        sys.exit("no Chromium: install it (Debian, Ubuntu: sudo apt-get install chromium)")
    with ExitStack() as stack:
        server = stack.enter_context(orthosharp(PHOTO))
        config = httpx.get(f"{server.url}/config.json").raise_for_status().json()
        ended = threading.Event()
        stack.callback(ended.set)
        for seed in range(load):
            threading.Thread(target=pan, args=(server.url, config, ended, seed), daemon=True).start()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        zoom, (lng, lat, _) = config["native_zoom"], config["center"]

        def note(request: Request) -> None:
            answer = request.response()
            for layer, times in done.items():
                # Not the overview below the old photo, which is of another zoom.
                if (
                    f"/{layer}/tiles/WebMercatorQuad/{zoom}/" in request.url
                    and answer
                    and answer.status == 200
                ):
                    times.append(time.monotonic() - began)

        page.on("requestfinished", note)
        began = time.monotonic()
        page.goto(
            f"{server.url}/#map={zoom}/{lat}/{lng}&left=old&right=restored&swipe=50", wait_until="commit"
        )
        count = 0
        while time.monotonic() - began < LONGEST_S:
            page.wait_for_timeout(1000 * SHOT_S)
            if shots:
                page.screenshot(path=shots / f"{count:03}.png")
            count += 1
            if page.get_attribute("#map", "aria-busy") == "false" and done["restored"]:
                break
    return {
        "whole old picture": round(max(done["old"]), 2),
        "old tiles": len(done["old"]),
        "first restored tile": round(min(done["restored"]), 2),
        "last restored tile": round(max(done["restored"]), 2),
        "restored tiles": len(done["restored"]),
    }


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=int, default=0, metavar="N", help="visitors at the same time")
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="write a screenshot every half second")
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{json.dumps(measure(options.load, options.shots))}\n")


if __name__ == "__main__":
    main()
