"""Pages of examples/ in Chromium, with their libraries from npm in place of the network."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import mercantile
import numpy as np
from PIL import Image
from playwright.sync_api import Page, Route, sync_playwright

JS = Path(__file__).with_name("js")
EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Software rendering: WebGL without a graphics card.
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    # The pages are of another site, and the server is on this machine.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
)
SIDE_PX = 512
_PACKAGE = re.compile(r"https://unpkg\.com/((?:@[^/]+/)?[^@/]+)@[^/]+/(.+)")
# A site of its own, so that pages request tiles from another one, as they will.
_SITE = "http://town.example"


class ExamplePage:
    """An example in a browser; records what it requests, and what the browser complains of.

    Attributes:
        page: the browser's page.
        answers: path and query with status, of every answer of the server.
        complaints: errors in the console.
    """

    def __init__(self, page: Page, server: str) -> None:
        self.page, self._server = page, server
        self.answers: dict[str, int] = {}
        self.complaints: list[str] = []
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("response", lambda answer: self._note(answer.url, answer.status))
        page.route("https://unpkg.com/**", _from_npm)
        page.route(f"{_SITE}/**", _example)

    def _note(self, url: str, status: int) -> None:
        if url.startswith(self._server):
            self.answers[url.removeprefix(self._server)] = status

    def open(self, name: str) -> None:
        self.page.goto(f"{_SITE}/{name}?server={self._server}")
        self.page.wait_for_function(
            "() => window.map && !(window.map instanceof Element)"
        )  # not the <div> of that name
        self.page.wait_for_load_state("networkidle")

    @property
    def tiles(self) -> list[str]:
        """Paths of the tiles requested so far."""
        return [path for path in self.answers if "/tiles/" in path]

    def screenshot(self) -> np.ndarray:
        """uint8 [height, width, 3], in the screen's own pixels."""
        return rgb(self.page.screenshot())


def _from_npm(route: Route) -> None:
    found = _PACKAGE.fullmatch(urlsplit(route.request.url)._replace(query="").geturl())
    assert found, route.request.url
    route.fulfill(
        path=JS / "node_modules" / found[1] / found[2], headers={"Access-Control-Allow-Origin": "*"}
    )


def _example(route: Route) -> None:
    route.fulfill(path=EXAMPLES / urlsplit(route.request.url).path.strip("/"))


def rgb(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.int16)


def four_tiles(server: str, template: str, z: int, x: int, y: int) -> np.ndarray:
    """The tiles that meet at the south-east corner of one, as int16 [height, width, 3]."""
    rows = [
        [
            rgb(httpx.get(template.format(z=z, x=x + i, y=y + j), timeout=120).raise_for_status().content)
            for i in (0, 1)
        ]
        for j in (0, 1)
    ]
    return np.vstack([np.hstack(row) for row in rows])


def inner_corner(document: dict[str, object], z: int) -> tuple[mercantile.Tile, mercantile.LngLat]:
    """A tile in the middle of the photograph, and its south-east corner."""
    lon, lat, _ = document["center"]  # type: ignore[misc]
    tile = mercantile.tile(lon, lat, z)  # type: ignore[has-type]
    return tile, mercantile.ul(tile.x + 1, tile.y + 1, z)


@contextmanager
def example_page(server: str, *, pixel_ratio: int = 1) -> Iterator[ExamplePage]:
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGS))
        context = chromium.new_context(
            viewport={"width": SIDE_PX, "height": SIDE_PX}, device_scale_factor=pixel_ratio
        )
        yield ExamplePage(context.new_page(), server)
        chromium.close()
