"""Other people's programs read what the seeder writes, from a static server that knows nothing but byte ranges.

The JavaScript ones come from npm: `make test-all` installs them into tests/system/js.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mercantile
import numpy as np
import pytest
import rasterio
from archive_contents import contents
from click.testing import CliRunner
from conftest import Photo, write_photo
from PIL import Image
from playwright.sync_api import sync_playwright
from rasterio.warp import transform

from tileserver.cli import main

JS = Path(__file__).with_name("js")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

pytestmark = pytest.mark.slow
needs_npm = pytest.mark.skipif(
    not (JS / "node_modules" / "pmtiles").is_dir() or shutil.which("node") is None,
    reason="npm install --prefix tests/system/js, which needs the network and Node.js",
)


class RangeHandler(SimpleHTTPRequestHandler):
    """Python's file server, with byte ranges (RFC 9110, 14.1.2), which it lacks."""

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None:
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A folder with an archive of each kind, and the scripts."""
    folder = tmp_path_factory.mktemp("site")
    source = write_photo(folder / "old.tif", Photo())
    for name in ("a.pmtiles", "a.mbtiles"):
        arguments = [
            "seed",
            source,
            folder / name,
            "--weights",
            tiny_weights,
            "--runtime",
            "onnx",
            "--zooms",
            "12-20",
        ]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
    for name in ("map.html", "read.mjs", "node_modules"):
        if (JS / name).exists():
            (folder / name).symlink_to(JS / name)
    return folder


@pytest.fixture(scope="module")
def origin(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def rgb(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float64)


def test_gdal_shows_the_tiles_of_mbtiles_in_their_places(site: Path) -> None:
    tiles = contents(site / "a.mbtiles")
    zoom = max(z for z, _, _ in tiles)
    place = sorted(place for place in tiles if place[0] == zoom)[len(tiles) // 3]
    bounds = mercantile.xy_bounds(place[1], place[2], zoom)
    with rasterio.open(site / "a.mbtiles") as dataset:
        row, column = dataset.index(bounds.left + 1e-3, bounds.top - 1e-3)
        window = rasterio.windows.Window(column, row, 256, 256)
        picture = np.moveaxis(dataset.read((1, 2, 3), window=window), 0, 2)
        assert dataset.tags()["ai_restored"] == "yes"
        x, y = transform("EPSG:4326", dataset.crs, *[[value] for value in mercantile.ul(*place[1:], zoom)])
        assert dataset.index(x[0] + 1e-3, y[0] - 1e-3) == (row, column)
    np.testing.assert_array_equal(picture, rgb(tiles[place[0], place[1], place[2]]))


@needs_npm
def test_the_javascript_reader_of_pmtiles(site: Path, origin: str) -> None:
    tiles = contents(site / "a.pmtiles")
    places = ["/".join(map(str, place)) for place in tiles]
    command = ["node", str(site / "read.mjs"), f"{origin}/a.pmtiles", *places, "20/0/0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    expected = {"/".join(map(str, place)): hashlib.sha256(body).hexdigest() for place, body in tiles.items()}
    assert document["tiles"] == expected | {"20/0/0": None}
    assert document["header"]["clustered"]
    assert (document["header"]["minZoom"], document["header"]["maxZoom"]) == (12, 20)
    assert "AI-restored" in document["metadata"]["attribution"]


@needs_npm
@pytest.mark.browser
@pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1")
def test_maplibre_shows_pmtiles_from_a_static_server(site: Path, origin: str) -> None:
    tiles = contents(site / "a.pmtiles")
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    # Four tiles that meet in the middle of the page.
    zoom = 19
    z, x, y = next(
        place
        for place in sorted(tiles)
        if place[0] == zoom
        and all((zoom, place[1] + i, place[2] + j) in tiles for i in (0, 1) for j in (0, 1))
    )
    corner = mercantile.ul(x + 1, y + 1, z)
    expected = np.vstack([np.hstack([rgb(tiles[z, x + i, y + j]) for i in (0, 1)]) for j in (0, 1)])
    complaints: list[str] = []
    # Software rendering: WebGL without a graphics card.
    arguments = [
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=arguments)
        page = chromium.new_page(viewport={"width": 512, "height": 512})
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        # MapLibre counts zooms for tiles of 512 px.
        view = f"lng={corner.lng!r}&lat={corner.lat!r}&zoom={z - 1}&archive={origin}/a.pmtiles"
        page.goto(f"{origin}/map.html?{view}")
        page.wait_for_selector("body[data-idle]")
        attribution = page.locator(".maplibregl-ctrl-attrib").inner_text()
        shot = page.screenshot(clip={"x": 0, "y": 0, "width": 512, "height": 512})
        chromium.close()
    assert not complaints
    assert "AI-restored" in attribution
    seen = rgb(shot)
    # The attribution hides the last rows.
    assert np.abs(seen[:450] - expected[:450]).mean() < 2
