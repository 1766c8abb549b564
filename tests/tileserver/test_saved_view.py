"""Saved views: native pixels, their place, credit and AI notice; bounded."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import rasterio
from conftest import service_of
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.warp import transform
from starlette.testclient import TestClient

from sr_model import PixelWindow


def box(client: TestClient, share: float = 0.3) -> str:
    """The middle of the photograph, `share` of its width and height."""
    west, south, east, north = client.get("/config.json").json()["bounds"]
    x, y, width, height = (
        (west + east) / 2,
        (south + north) / 2,
        (east - west) * share,
        (north - south) * share,
    )
    return f"{x - width / 2},{y - height / 2},{x + width / 2},{y + height / 2}"


@pytest.mark.parametrize("layer", ["restored", "old", "new"])
def test_a_geotiff_has_the_native_pixels_in_their_place(served: TestClient, layer: str) -> None:
    answer = served.get(f"/{layer}/view.tif?bbox={box(served)}")
    assert answer.status_code == 200
    assert (
        answer.headers["content-disposition"].endswith(f'-{layer}.tif"')
        or layer in answer.headers["content-disposition"]
    )
    service = service_of(served)
    pyramid = service.rasters.view(layer, "WebMercatorQuad").pyramid
    with MemoryFile(answer.content) as file, file.open() as dataset:
        assert dataset.crs.to_epsg() == 3857
        assert dataset.count == 4
        assert dataset.res[0] == pytest.approx(pyramid.grid.cell(pyramid.native_zoom), rel=1e-9)
        tags, pixels, place = dataset.tags(), dataset.read(), dataset.bounds
    left = round((place.left - pyramid.grid.left) / pyramid.grid.cell(pyramid.native_zoom))
    top = round((pyramid.grid.top - place.top) / pyramid.grid.cell(pyramid.native_zoom))
    window = PixelWindow(left, top, pixels.shape[2], pixels.shape[1])
    wanted = service.raster(layer, "WebMercatorQuad", pyramid.native_zoom, window)
    np.testing.assert_array_equal(pixels[:3].transpose(1, 2, 0), wanted.rgb)
    assert tags["TIFFTAG_COPYRIGHT"].startswith("Test Survey <1998>")
    assert ("AI-restored by tiny" in tags.get("TIFFTAG_IMAGEDESCRIPTION", "")) == (layer == "restored")


def test_a_png_comes_with_world_file_and_credit(served: TestClient) -> None:
    bbox = box(served)
    answer = served.get(f"/restored/view.zip?bbox={bbox}")
    assert answer.headers["x-orthosharp"].startswith("AI-restored")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files.keys() == {"view.png", "view.pgw", "view.prj", "CREDIT.txt"}
    picture = Image.open(io.BytesIO(files["view.png"]))
    assert picture.info["Copyright"].startswith("Test Survey")
    assert "AI-restored by tiny" in picture.info["Description"]
    assert "AI-restored by tiny" in files["CREDIT.txt"].decode()
    x_cell, _, _, y_cell, x, y = map(float, files["view.pgw"].split())
    assert x_cell == pytest.approx(-y_cell)
    assert x_cell > 0
    assert rasterio.crs.CRS.from_wkt(files["view.prj"].decode()).to_epsg() == 3857
    west, _, _, north = map(float, bbox.split(","))
    lons, lats = transform("EPSG:3857", "EPSG:4326", [x], [y])
    assert (lons[0], lats[0]) == pytest.approx((west, north), abs=2e-5)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("bbox=1,2,3", 422, "west,south,east,north"),
        ("bbox=a,b,c,d", 422, "west,south,east,north"),
        ("bbox=10,10,11,11", 404, "outside the photograph"),
        ("bbox=3,3,2,2", 422, "rectangle"),
        ("", 422, "bbox"),
    ],
)
def test_what_is_no_view_is_refused(served: TestClient, query: str, status: int, said: str) -> None:
    answer = served.get(f"/restored/view.tif?{query}")
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


def test_a_view_is_bounded(served: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(served)
    monkeypatch.setattr(service, "settings", service.settings.model_copy(update={"max_image_px": 256}))
    answer = served.get(f"/restored/view.zip?bbox={box(served, 1)}")
    assert answer.status_code == 422
    assert "256 is the most" in answer.json()["detail"]
    assert "zoom in" in answer.json()["detail"]
