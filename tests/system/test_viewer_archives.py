"""The page of archives alone, without photograph and network, with the years as a slider; views saved at an edge."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import rasterio
from conftest import running_server
from PIL import Image
from seeded_photo import SeededPhoto
from viewer_visit import PATIENT, Visit

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]


@pytest.fixture(scope="module")
def origin(seeded: SeededPhoto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of two archives, whose names have the years."""
    folder = tmp_path_factory.mktemp("archives")
    archives = [folder / f"town-{year}{suffix}" for year, suffix in ((1951, ".pmtiles"), (1968, ".mbtiles"))]
    for path in archives:
        path.write_bytes((seeded.folder / f"a{path.suffix}").read_bytes())
    with running_server(*archives) as server:
        yield server.url


def test_archives_of_two_years_are_a_slider_with_credit_and_notice(
    visit: Callable[..., Visit], origin: str
) -> None:
    a_visit = visit()
    page = a_visit.open()
    assert page.locator("#left-shown").inner_text() == "1951 · AI-restored"
    assert page.locator("#credit").inner_text() == "Test Survey <1998>"
    assert page.locator("#ai-notice").inner_text().startswith("AI-restored by tiny (")
    assert page.locator(".leaflet-left-pane .leaflet-tile-loaded").count() > 0
    page.get_by_role("slider", name="Year").focus()
    page.keyboard.press("ArrowRight")
    a_visit.settle()
    assert page.locator("#right-shown").inner_text() == "1968 · AI-restored"
    assert any("/1968/restored/tiles/" in url for url in a_visit.requests)
    page.select_option("#left", "1951:restored")
    a_visit.settle()
    again = visit()
    again.open(page.url.removeprefix(origin))
    assert again.page.url == page.url
    # There is no photograph to save a view of.
    page.click("#open-tools")
    assert not page.locator("#save-left").is_visible()


def test_a_view_beyond_the_edge_is_saved_as_far_as_the_photo_goes(
    visit: Callable[..., Visit], photo: Path, tiny_weights: Path, browser: object
) -> None:
    with running_server(*PATIENT, photo, "--weights", tiny_weights, "--credit", "Test Survey") as server:
        config = httpx.get(f"{server.url}/config.json", timeout=60).json()
        west, _, _, north = config["bounds"]
        page = browser.new_page()  # type: ignore[attr-defined]
        place = f"{config['native_zoom']}/{north:.6f}/{west:.6f}"
        page.goto(f"{server.url}/#map={place}&left=old&right=restored&swipe=50")
        page.wait_for_selector("#map[aria-busy=false]", timeout=60_000)
        page.click("#open-tools")
        with page.expect_download() as download:
            page.click("#save-left-tif")
        with rasterio.open(download.value.path()) as saved:
            assert saved.crs.to_epsg() == 3857
            left, _, right, top = rasterio.warp.transform_bounds(saved.crs, "EPSG:4326", *saved.bounds)
            assert left == pytest.approx(west, abs=2e-5)
            assert top == pytest.approx(north, abs=2e-5)
            assert left < right
            assert saved.read(1).any()
        with page.expect_download() as download:
            page.click("#save-right-zip")
        with zipfile.ZipFile(download.value.path()) as found:
            names = {name.split(".")[-1]: name for name in found.namelist()}
            assert {"png", "pgw"} <= names.keys()
            assert Image.open(io.BytesIO(found.read(names["png"]))).size[0] > 100
            assert "AI-restored" in b"".join(found.read(name) for name in found.namelist()).decode("latin-1")
        page.close()
