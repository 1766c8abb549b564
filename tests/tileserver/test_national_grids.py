"""Tile matrix sets in metres other than Web Mercator: those that ship with morecantile, and a country's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import morecantile
import numpy as np
import pyproj
import pytest
import rasterio
from conftest import middle_tile
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject
from starlette.testclient import TestClient

from tileserver.service import TileRequest, TileService
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.layer import supported_tms
from tileserver.web.app import create_app

MakeService = Callable[..., TileService]
NEW_ZEALAND = "NZTM2000Quad"


@pytest.fixture
def wellington(make_photo: Callable[..., Path]) -> Path:
    return make_photo("nz", crs="EPSG:2193", origin=(1_750_000.0, 5_430_000.0))


def test_one_inference_fills_a_metatile_of_a_national_grid(
    make_service: MakeService, wellington: Path
) -> None:
    service = make_service(source=str(wellington))
    pyramid = service.rasters.view("restored", NEW_ZEALAND).pyramid
    assert pyramid.grid.cell(pyramid.native_zoom) == pytest.approx(0.3048, rel=0.42)
    tile = middle_tile(service, tms=NEW_ZEALAND)
    left, top = tile.x // 4 * 4, tile.y // 4 * 4
    for levels in (0, 1, 2):
        for x in range(4 >> levels):
            for y in range(4 >> levels):
                address = TileAddress(tile.z - levels, (left >> levels) + x, (top >> levels) + y)
                service.tile(TileRequest("restored", NEW_ZEALAND, address, "png"))
    assert service.metrics.inferences._value.get() == 1


def test_tiles_lie_where_the_grid_says(make_service: MakeService, wellington: Path) -> None:
    """Against GDAL's warp to the bounds that morecantile gives for the tile."""
    service = make_service(source=str(wellington))
    tile = middle_tile(service, tms=NEW_ZEALAND)
    body = service.tile(TileRequest("old", NEW_ZEALAND, tile, "png")).body
    ours = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.int16)
    bounds = morecantile.tms.get(NEW_ZEALAND).xy_bounds(tile.x, tile.y, tile.z)
    theirs = np.zeros((3, 256, 256), np.uint8)
    with rasterio.open(wellington) as dataset:
        reproject(
            rasterio.band(dataset, (1, 2, 3)),
            theirs,
            dst_crs="EPSG:2193",
            dst_transform=from_bounds(*bounds, 256, 256),
            resampling=Resampling.cubic,
        )
    assert np.abs(ours - np.moveaxis(theirs, 0, 2)).mean() < 0.5


def test_a_custom_grid_is_served(
    make_service: MakeService,
    make_photo: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """As morecantile finds it in the folder that TILEMATRIXSET_DIRECTORY names."""
    extent = [-285401.92, 22598.08, 595401.92, 903401.92]
    own = morecantile.TileMatrixSet.custom(extent, pyproj.CRS.from_epsg(28992), id="RDNewQuad", maxzoom=22)
    monkeypatch.setattr(morecantile, "tms", morecantile.tms.register({"RDNewQuad": own}))
    # As before the first request: the sets are listed once.
    supported_tms.cache_clear()
    request.addfinalizer(supported_tms.cache_clear)
    photo = make_photo("nl", crs="EPSG:28992", origin=(155_000.0, 463_000.0))
    service = make_service(source=str(photo))
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service, tms="RDNewQuad")
    answer = client.get(f"/restored/tiles/RDNewQuad/{tile.z}/{tile.x}/{tile.y}.png")
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
    document = client.get("/restored/RDNewQuad/tilejson.json").json()
    assert document["minzoom"] < tile.z < document["maxzoom"]
    assert "urn:ogc:def:crs:EPSG::28992" in client.get("/restored/WMTSCapabilities.xml").text
