"""A browser page that shows the viewer, for its tests."""

from __future__ import annotations

import io
import re

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Page

PATCH_PX = 48
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
        self.page.set_default_timeout(60_000)
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
        """Assert that the page shows this layer, and no other, at this point."""
        seen, wanted = self.patch(x, y), self.expected(layer, x, y)
        assert np.abs(seen - wanted).mean() < 1.5, f"{layer} expected at {x}, {y}"
