"""How long the page takes, cold: to the whole old picture, and to the first and the last restored tile.

Run: `python -m benchmarks.page [--load N] [--impatient] [--shots FOLDER]`. Starts the server on the demo photograph
with nothing cached, opens the page in Chromium, and prints seconds from the request for the page: the page as it is,
and as it was before it had a queue (from the repository's history), alone and beside N visitors that pan over the
photograph.
`--shots` takes a screenshot every half second as well, and makes a sheet of them for each run; screenshots themselves
take time. Ends within eight minutes.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mercantile
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Response, Route, sync_playwright

from benchmarks.serving.servers import orthosharp

PHOTO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
# The last commit whose page left the order of its requests to the browser.
BEFORE = "d6ff852"
LONGEST_S = 75.0
SHOT_S = 0.5
# After the last tile: whether the page still changes.
QUIET_S = 2.0
# Longest wait of a visitor that was refused.
PATIENCE_S = 20.0
SHEET_COLUMNS, SHOT_PX = 8, 240
VIEWPORT = {"width": 1280, "height": 800}
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
LAYERS = ("old", "restored")


@dataclass
class Arrivals:
    """Tiles of the view as they arrive.

    Attributes:
        zoom: of the view; the overview below the old photo has another.
        began: when the page was requested, by `time.monotonic`.
        seconds: by layer, from then.
        refused: number of answers with status 503, by layer.
    """

    zoom: int
    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {layer: [] for layer in LAYERS})
    refused: Counter[str] = field(default_factory=Counter)

    def note(self, request: Request) -> None:
        """Note a tile that has arrived."""
        layer, answer = self._layer(request.url), request.response()
        if layer and answer and answer.status == 200:
            self.seconds[layer].append(time.monotonic() - self.began)

    def note_refusal(self, answer: Response) -> None:
        """Note a tile that was refused."""
        layer = self._layer(answer.url)
        if layer and answer.status == 503:
            self.refused[layer] += 1

    def is_whole(self) -> bool:
        """Return whether as many restored tiles have arrived as old ones, and no more come."""
        old, restored = (self.seconds[layer] for layer in LAYERS)
        if not old or len(restored) < len(old):
            return False
        return time.monotonic() - self.began > max(*old, *restored) + QUIET_S

    def result(self) -> dict[str, float | int | None]:
        """Return what `docs/benchmarks.md` has columns for."""
        old, restored = (self.seconds[layer] for layer in LAYERS)
        return {
            "whole old picture": round(max(old), 2) if old else None,
            "first restored tile": round(min(restored), 2) if restored else None,
            "last restored tile": round(max(restored), 2) if restored else None,
            "old tiles": len(old),
            "restored tiles": len(restored),
            "refused": sum(self.refused.values()),
        }

    def _layer(self, url: str) -> str | None:
        return next((name for name in LAYERS if f"/{name}/tiles/WebMercatorQuad/{self.zoom}/" in url), None)


def pan(url: str, config: Mapping[str, Any], ended: threading.Event, seed: int, *, is_patient: bool) -> None:
    """Request restored tiles at random, one after the other, until the measurement has ended.

    A patient visitor has an address of its own, and waits as long as the server asks for; others share one, and do not.
    """
    chance = random.Random(seed)
    west, south, east, north = config["bounds"]
    own = httpx.HTTPTransport(local_address=f"127.0.1.{seed + 1}") if is_patient else None
    with httpx.Client(timeout=60, transport=own) as client:
        while not ended.is_set():
            lng, lat = chance.uniform(west, east), chance.uniform(south, north)
            tile = mercantile.tile(lng, lat, config["native_zoom"])
            try:
                answer = client.get(f"{url}/restored/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.webp")
            except httpx.HTTPError:
                return  # the server has ended
            asked_s = float(answer.headers.get("Retry-After", 0)) if is_patient else 0.0
            ended.wait(max(0.1, min(asked_s, PATIENCE_S)))


@functools.cache
def page_of(commit: str) -> dict[str, bytes]:
    """Return the files of the page in a commit, by their path below `viewer`."""
    command = ["git", "archive", commit, "tileserver/viewer"]
    found = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, check=False)
    if found.returncode:
        sys.exit(f"the page of {commit} is not in this repository's history: name another by --before")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name.removeprefix("tileserver/viewer/"): file.read() for name, file in files.items() if file}


def replace_page(page: Page, url: str, commit: str) -> None:
    """Let a browser page get the files of a commit in place of the server's."""
    files = page_of(commit)

    def answer(route: Route) -> None:
        name = route.request.url.split("#")[0].removeprefix(f"{url}/").removeprefix("viewer/") or "index.html"
        if name in files:
            route.fulfill(body=files[name], content_type=MEDIA_TYPES.get(name.split(".")[-1], "image/png"))
        else:
            route.fulfill(status=404, body="")

    page.route(f"{url}/", answer)
    page.route(f"{url}/viewer/**", answer)


def sheet(shots: list[bytes]) -> Image.Image:
    """Return screenshots in rows, half a second from each to the next."""
    pictures = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    height = SHOT_PX * VIEWPORT["height"] // VIEWPORT["width"]
    rows = -(-len(pictures) // SHEET_COLUMNS)
    whole = Image.new("RGB", (SHEET_COLUMNS * (SHOT_PX + 4), rows * (height + 4)), "white")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, SHEET_COLUMNS)
        whole.paste(picture.resize((SHOT_PX, height)), (column * (SHOT_PX + 4), row * (height + 4)))
    return whole


def measure(
    browser: Browser, before: str | None, load: int, *, is_patient: bool, shots: Path | None
) -> dict[str, float | int | None]:
    """Return seconds until the tiles had arrived, and how many there were.

    Args:
        browser: opens the page.
        before: commit whose page is opened; None for the page as it is.
        load: visitors at the same time.
        is_patient: whether these have addresses of their own, and wait when they are refused.
        shots: the sheet of screenshots to write.
    """
    with ExitStack() as stack:
        server = stack.enter_context(orthosharp(PHOTO))
        config = httpx.get(f"{server.url}/config.json").raise_for_status().json()
        ended = threading.Event()
        stack.callback(ended.set)
        for seed in range(load):
            threading.Thread(
                target=pan,
                args=(server.url, config, ended, seed),
                kwargs={"is_patient": is_patient},
                daemon=True,
            ).start()
        if load:
            time.sleep(5)  # until the server knows how long its tiles take
        page = browser.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
        stack.callback(page.close)
        if before:
            replace_page(page, server.url, before)
        zoom, (lng, lat, _) = config["native_zoom"], config["center"]
        arrivals = Arrivals(zoom)
        page.on("requestfinished", arrivals.note)
        page.on("response", arrivals.note_refusal)
        page.goto(
            f"{server.url}/#map={zoom}/{lat}/{lng}&left=old&right=restored&swipe=50", wait_until="commit"
        )
        taken: list[bytes] = []
        while time.monotonic() - arrivals.began < LONGEST_S and not arrivals.is_whole():
            if shots:
                taken.append(page.screenshot())
            left_s = arrivals.began + SHOT_S * (len(taken) or 1) - time.monotonic()
            page.wait_for_timeout(max(1000 * (left_s if shots else SHOT_S), 1))
        if shots:
            sheet(taken).save(shots, quality=80)
        return arrivals.result()


def chromium() -> str:
    """Return the path of a Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("no Chromium: install it (Debian, Ubuntu: sudo apt-get install chromium)")
    return found


def main() -> None:
    """Measure, and print a line of JSON for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=int, default=12, metavar="N", help="visitors at the same time (12)")
    parser.add_argument(
        "--impatient", action="store_true", help="visitors of one address, who return at once when refused"
    )
    parser.add_argument(
        "--shots", type=Path, metavar="FOLDER", help="make sheets of screenshots, half a second apart"
    )
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="commit of the page to compare")
    parser.add_argument("--only", choices=("before", "now"), help="measure one of the pages only")
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        for load in dict.fromkeys((0, options.load)):
            for name in ("before", "now"):
                if options.only not in (None, name):
                    continue
                found = measure(
                    browser,
                    options.before if name == "before" else None,
                    load,
                    is_patient=not options.impatient,
                    shots=options.shots / f"{name}-{load}.jpg" if options.shots else None,
                )
                sys.stdout.write(f"{json.dumps({'page': name, 'visitors': load, **found})}\n")
                sys.stdout.flush()
        browser.close()


if __name__ == "__main__":
    main()
