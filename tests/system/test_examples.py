"""The pages of examples/ in Chromium: the right tiles in the right places, on screens of both kinds.

Their libraries come from npm: `make test-clients` and `make test-all` install them into tests/system/js.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import running_server
from example_pages import JS, SIDE_PX, example_page, four_tiles, inner_corner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
    pytest.mark.skipif(
        not (JS / "node_modules" / "maplibre-gl").is_dir() or shutil.which("node") is None,
        reason="npm install --prefix tests/system/js, which needs the network and Node.js",
    ),
]

# How to look at a place in tiles of a zoom at their own size, and when all are shown.
LOOK = {
    "maplibre.html": """([lng, lat, zoom]) => new Promise((done) => {
        map.jumpTo({center: [lng, lat], zoom: zoom - 1});
        map.once('idle', done);
    })""",
    "leaflet.html": """([lng, lat, zoom]) => new Promise((done) => {
        map.setView([lat, lng], zoom, {animate: false});
        setTimeout(done, 500);
    })""",
    "openlayers.html": """([lng, lat, zoom]) => new Promise((done) => {
        map.once('rendercomplete', done);
        map.getView().setCenter(ol.proj.fromLonLat([lng, lat]));
        map.getView().setZoom(zoom);
    })""",
}
ATTRIBUTION = {
    "maplibre.html": ".maplibregl-ctrl-attrib",
    "leaflet.html": ".leaflet-control-attribution",
    "openlayers.html": ".ol-attribution",
}
# Two zooms out, where the photograph does not fill the screen.
ZOOM_OUT = {
    "maplibre.html": "map.jumpTo({zoom: map.getZoom() - 2})",
    "leaflet.html": "map.setZoom(map.getZoom() - 2, {animate: false})",
    "openlayers.html": "map.getView().setZoom(map.getView().getZoom() - 2)",
}


@pytest.fixture(scope="module")
def server(photo: Path, tiny_weights: Path) -> Iterator[str]:
    with running_server(photo, "--weights", tiny_weights, "--credit", "County <1998>") as running:
        yield running.url


@pytest.mark.parametrize("pixel_ratio", [1, 2])
@pytest.mark.parametrize("name", LOOK)
def test_tiles_lie_in_their_places_and_are_sharp(server: str, name: str, pixel_ratio: int) -> None:
    document = httpx.get(f"{server}/tilejson.json?scale={pixel_ratio}", timeout=120).json()
    zoom = int(document["center"][2])
    tile, corner = inner_corner(document, zoom)
    expected = four_tiles(server, document["tiles"][0], *(tile.z, tile.x, tile.y))
    with example_page(server, pixel_ratio=pixel_ratio) as visit:
        visit.open(name)
        visit.page.evaluate(LOOK[name], [corner.lng, corner.lat, zoom])
        visit.page.wait_for_load_state("networkidle")
        visit.page.wait_for_timeout(600)  # tiles fade in
        seen = visit.screenshot()
        assert "AI-restored" in str(visit.page.locator(ATTRIBUTION[name]).text_content())
        visit.page.evaluate(f"{ZOOM_OUT[name]}; null")
        visit.page.wait_for_load_state("networkidle")
    assert visit.complaints == []
    assert set(visit.answers.values()) == {200}
    assert {"@2x" in path for path in visit.tiles} == {pixel_ratio == 2}
    # At this view, tiles of this zoom and no others than it and those on the way.
    zooms = {int(re.search(r"/(\d+)/\d+/\d+", path)[1]) for path in visit.tiles}
    assert max(zooms) == zoom
    assert seen.shape == (pixel_ratio * SIDE_PX, pixel_ratio * SIDE_PX, 3)
    # Attribution and buttons lie at the edge.
    middle = slice(pixel_ratio * 60, pixel_ratio * 420)
    assert np.abs(seen[middle, middle] - expected[middle, middle]).mean() < 2
