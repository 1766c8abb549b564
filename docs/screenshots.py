"""Take the screenshots of the page for the documentation.

Start the demo (`make demo`), then: `.venv/bin/python docs/screenshots.py [http://127.0.0.1:8000]`. Needs the
extra `dev` and a Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent / "images"
MOST_BYTES = 1_500_000
# All tiles are loaded, and have faded in.
SETTLED = """() => document.querySelector('#map').getAttribute('aria-busy') === 'false'
    && [...document.querySelectorAll('.leaflet-tile')].every(
        (tile) => Number(tile.style.opacity || 1) === 1)"""


@dataclass(frozen=True)
class Shot:
    """One screenshot: its file, the window in CSS pixels, device pixels per CSS pixel, and the system's scheme."""

    name: str
    width: int
    height: int
    density: int = 1
    scheme: Literal["light", "dark"] = "light"


SHOTS = (
    Shot("viewer-desktop.png", 1280, 800),
    Shot("viewer-dark.png", 1280, 800, scheme="dark"),
    Shot("viewer-phone.png", 360, 740, density=2),
)
# The houses along the road through the village of the demo.
VILLAGE_LAT, VILLAGE_LNG = 42.3942, -73.5272


def take(browser: Browser, url: str, shot: Shot) -> Path:
    """Take one screenshot, of the village at the native zoom with the handle in the middle."""
    # On a high-density screen the tiles of a zoom have the pixels of the next one.
    zoom = httpx.get(f"{url}/config.json").raise_for_status().json()["native_zoom"] - (shot.density > 1)
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.density,
        color_scheme=shot.scheme,
    )
    page.goto(f"{url}/#map={zoom}/{VILLAGE_LAT}/{VILLAGE_LNG}&left=old&right=restored&swipe=50")
    page.wait_for_selector("#map[aria-busy]")
    page.wait_for_function(SETTLED, timeout=120_000)
    path = FOLDER / shot.name
    path.write_bytes(small_png(page.screenshot()))
    page.close()
    return path


def small_png(data: bytes) -> bytes:
    """Return a PNG, reduced to 256 colours if it would be too large otherwise."""
    if len(data) <= MOST_BYTES:
        return data
    sink = io.BytesIO()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(sink, "png", optimize=True)
    return sink.getvalue()


def main() -> None:
    """Take all screenshots."""
    url = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000").rstrip("/")
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        sys.exit("no Chromium: install it (Debian, Ubuntu: sudo apt-get install chromium)")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        for shot in SHOTS:
            path = take(browser, url, shot)
            sys.stdout.write(f"{path} ({path.stat().st_size // 1024} KiB)\n")
        browser.close()


if __name__ == "__main__":
    main()
