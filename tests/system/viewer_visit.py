"""A browser page that shows the viewer, for its tests."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 760, "height": 560}
PHONE = {"width": 360, "height": 740}
# The machine that runs the tests may be busy: what a server says then is tested where it is made to say so.
PATIENT = ("--max-wait-s", "60")
PATCH_PX = 48
AXE = Path(__file__).with_name("js") / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make clients")
TILE_PX = 256

# All tiles are loaded, and have faded in.
SETTLED = """() => document.querySelector('#map').getAttribute('aria-busy') === 'false'
    && [...document.querySelectorAll('.leaflet-tile')].every(
        (tile) => !tile.src || tile.style.opacity === '' || Number(tile.style.opacity) === 1)"""


class Visit:
    """A browser page on the viewer; records the errors that the browser logs and the requests it makes."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.origin = origin
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.origin + path)
        self.settle()
        return self.page

    def go(self, view: str) -> None:
        """Change the URL fragment, as when the user edits the address."""
        self.page.evaluate(
            """(view) => new Promise((done) => {
                addEventListener('hashchange', done, { once: true });
                location.hash = view;
            })""",
            view,
        )
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector("#map[aria-busy]", state="attached")
        self.page.wait_for_function(SETTLED)

    def patch(self, x: float, y: float) -> np.ndarray:
        """Return the screen's pixels around a point of the page: int16 [PATCH_PX, PATCH_PX, 3] in CSS pixels."""
        clip = {
            "x": int(x) - PATCH_PX // 2,
            "y": int(y) - PATCH_PX // 2,
            "width": PATCH_PX,
            "height": PATCH_PX,
        }
        shot = self.page.screenshot(clip=clip, scale="css")  # type: ignore[arg-type]
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=np.int16)

    def expected(self, layer: str, x: float, y: float) -> np.ndarray:
        """Return the pixels that `patch` should show, assembled from the server's tiles by Web Mercator arithmetic."""
        zoom, lat, lng = self.place()
        size = self.page.locator("#map").bounding_box()
        assert size is not None
        world_px = TILE_PX * 2**zoom
        centre_x = world_px * (lng / 360 + 0.5)
        centre_y = world_px * (0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi))
        left = round(centre_x - size["width"] / 2) + int(x) - PATCH_PX // 2
        top = round(centre_y - size["height"] / 2) + int(y) - PATCH_PX // 2
        columns = range(left // TILE_PX, (left + PATCH_PX - 1) // TILE_PX + 1)
        rows = range(top // TILE_PX, (top + PATCH_PX - 1) // TILE_PX + 1)
        mosaic = np.concatenate(
            [np.concatenate([self.tile(layer, zoom, column, row) for column in columns], 1) for row in rows],
            0,
        )
        top, left = top - rows[0] * TILE_PX, left - columns[0] * TILE_PX
        return mosaic[top : top + PATCH_PX, left : left + PATCH_PX]

    def tile(self, layer: str, zoom: int, column: int, row: int) -> np.ndarray:
        answer = httpx.get(
            f"{self.origin}/{layer}/tiles/WebMercatorQuad/{zoom}/{column}/{row}.webp", timeout=60
        )
        return np.asarray(
            Image.open(io.BytesIO(answer.raise_for_status().content)).convert("RGB"), dtype=np.int16
        )

    def place(self) -> tuple[int, float, float]:
        """Return zoom, latitude and longitude from the address bar."""
        found = re.search(r"#map=(\d+)/(-?[\d.]+)/(-?[\d.]+)&", self.page.url)
        assert found, f"no place in {self.page.url}"
        return int(found[1]), float(found[2]), float(found[3])

    def shows(self, layer: str, x: float, y: float) -> None:
        """Assert that the page shows this layer, and no other, at this point of a screen of single density."""
        seen, wanted = self.patch(x, y), self.expected(layer, x, y)
        assert np.abs(seen - wanted).mean() < 1.5, f"{layer} expected at {x}, {y}"


def violations(page: Page) -> list[str]:
    """Return the rules of axe-core that the page breaks, with the elements."""
    # Playwright evaluates outside of the page's content security policy.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium without a window."""
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        pytest.fail(
            "no Chromium: install it (Debian, Ubuntu: sudo apt-get install chromium), "
            "or leave these tests out with ORTHOSHARP_NO_BROWSER=1"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()


@contextmanager
def visits(browser: Browser, origin: str) -> Iterator[Callable[..., Visit]]:
    """Yield a function that opens visits.

    Unless they are made with `strict=False`, they may neither log an error nor request anything from another server.
    """
    strict_ones: list[Visit] = []

    def make(*, strict: bool = True, **options: Any) -> Visit:
        made = Visit(browser.new_context(**({"viewport": DESKTOP} | options)), origin)
        if strict:
            strict_ones.append(made)
        return made

    yield make
    for made in strict_ones:
        assert made.complaints == []
        foreign = {url for url in made.requests if not url.startswith(("data:", "blob:"))}
        assert {urlsplit(url).netloc for url in foreign} == {urlsplit(origin).netloc}
    for context in browser.contexts:
        context.close()


def view(
    origin: str, *, left: str = "old", right: str = "restored", swipe: float = 50, zoom_in: int = 0
) -> str:
    """Return the fragment of a view at the photo's centre, `zoom_in` zooms from the native one."""
    config = httpx.get(f"{origin}/config.json", timeout=60).json()
    lng, lat, _ = config["center"]
    zoom = config["native_zoom"] + zoom_in
    return f"#map={zoom}/{lat:.6f}/{lng:.6f}&left={left}&right={right}&swipe={swipe}"
