"""Other people's programs read what the seeder writes, from a static server that knows nothing but byte ranges.

The JavaScript ones come from npm: `make test-clients` and `make test-all` install them into tests/system/js.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import mercantile
import numpy as np
import pytest
import rasterio
from archive_contents import contents
from command_calls import seed
from conftest import Photo, write_photo
from PIL import Image
from playwright.sync_api import sync_playwright
from range_server import RangeHandler
from seeded_photo import OPTIONS

JS = Path(__file__).with_name("js")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

pytestmark = pytest.mark.slow
needs_npm = pytest.mark.skipif(
    not (JS / "node_modules" / "pmtiles").is_dir() or shutil.which("node") is None,
    reason="npm install --prefix tests/system/js, which needs the network and Node.js",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A folder with an archive of each kind, and the scripts."""
    folder = tmp_path_factory.mktemp("site")
    source = write_photo(folder / "old.tif", Photo())
    for name in ("a.pmtiles", "a.mbtiles"):
        result = seed(source, folder / name, tiny_weights, *OPTIONS)
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


def inner_tile(tiles: dict[tuple[int, int, int], bytes]) -> tuple[int, int, int]:
    """A tile of the finest zoom with tiles all around it."""
    finest = max(z for z, _, _ in tiles)
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return next(
        (z, x, y)
        for z, x, y in sorted(tiles)
        if z == finest and all((z, x + i, y + j) in tiles for i, j in steps)
    )


def rgb(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float64)


def test_gdal_shows_the_tiles_of_mbtiles_in_their_places(site: Path) -> None:
    tiles = contents(site / "a.mbtiles")
    z, x, y = inner_tile(tiles)
    with rasterio.open(site / "a.mbtiles") as dataset:
        corner = mercantile.xy_bounds(x, y, z)
        row, column = dataset.index(corner.left + dataset.res[0] / 2, corner.top - dataset.res[1] / 2)
        window = rasterio.windows.Window(column, row, 256, 256)
        picture = np.moveaxis(dataset.read((1, 2, 3), window=window), 0, 2)
        assert dataset.tags()["ai_restored"] == "yes"
    np.testing.assert_array_equal(picture, rgb(tiles[z, x, y]))


@needs_npm
def test_the_javascript_reader_of_pmtiles(site: Path, origin: str) -> None:
    tiles = contents(site / "a.pmtiles")
    places = ["/".join(map(str, place)) for place in tiles]
    command = ["node", str(site / "read.mjs"), f"{origin}/a.pmtiles", *places, "19/0/0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    expected = {"/".join(map(str, place)): hashlib.sha256(body).hexdigest() for place, body in tiles.items()}
    assert document["tiles"] == expected | {"19/0/0": None}
    assert document["header"]["clustered"]
    assert (document["header"]["minZoom"], document["header"]["maxZoom"]) == (12, 19)
    assert "AI-restored" in document["metadata"]["attribution"]


@needs_npm
@pytest.mark.browser
@pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1")
def test_maplibre_shows_pmtiles_from_a_static_server(site: Path, origin: str) -> None:
    tiles = contents(site / "a.pmtiles")
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    # Four tiles that meet in the middle of the page.
    z, x, y = inner_tile(tiles)
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
