"""titiler's routes for every layer: bbox, preview, point, feature and WMTS."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import middle_tile, path_of, service_of
from PIL import Image
from rasterio.warp import transform
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.tiling.grid import BBox

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"


@pytest.mark.parametrize(
    "crs",
    [
        "/etc/hostname",
        "http://127.0.0.1:9/x.prj",
        "{folder}/old.prj",
        "EPSG:0",
        "+proj=utm",
        "file:///etc/passwd",
    ],
)
def test_no_client_makes_the_server_open_a_file_or_url(served: TestClient, photo: Path, crs: str) -> None:
    """GDAL opens files and URLs given as a CRS, and titiler passes on any text that the client sends."""
    (photo.parent / "old.prj").write_text("EPSG:3857")
    value = crs.format(folder=photo.parent)
    for url, name in (
        ("/old/info.geojson", "crs"),
        ("/collections/old/map", "crs"),
        ("/old/preview.png", "dst_crs"),
        ("/old/bbox/-73.54,42.39,-73.53,42.4.png", "coord_crs"),
        ("/old/point/-73.54,42.39", "coord_crs"),
    ):
        answer = served.get(url, params={name: value})
        assert answer.status_code == 422, answer.text
        assert "EPSG:3857" in answer.json()["detail"]
    refused = served.get("/old/info?url=/etc/passwd")
    assert (refused.status_code, refused.json()["detail"].split()[0]) == (400, "url")


@pytest.mark.slow
def test_titilers_routes_work_for_every_layer(served: TestClient) -> None:
    west, south, east, north = served.get("/tilejson.json").json()["bounds"]
    middle = f"{(west + east) / 2},{(south + north) / 2}"
    box = f"{west + (east - west) / 3},{south + (north - south) / 3},{middle}"
    for layer in ("old", "restored", "new", "difference"):
        info = served.get(f"/{layer}/info").json()
        assert info["dtype"] == "uint8"
        assert served.get(f"/{layer}/info.geojson").json()["geometry"]["type"] == "Polygon"
        bounds = served.get(f"/{layer}/bounds").json()
        assert bounds["crs"].endswith("CRS84")
        assert bounds["bounds"] == pytest.approx(
            served.get(f"/{layer}/WebMercatorQuad/tilejson.json").json()["bounds"]
        )
        preview = served.get(f"/{layer}/preview.png?max_size=200")
        assert max(Image.open(io.BytesIO(preview.content)).size) == 200
        assert "etag" in preview.headers
        part = served.get(f"/{layer}/bbox/{box}/120x90.png")
        assert Image.open(io.BytesIO(part.content)).size == (120, 90)
        assert ("x-orthosharp" in part.headers) == (layer in ("restored", "difference"))
        bands = 1 if layer == "difference" else 3
        assert len(served.get(f"/{layer}/point/{middle}").json()["values"]) == bands
        assert served.get(f"/{layer}/tiles").status_code == 200
        assert served.get(f"/{layer}/tiles/{MERCATOR}").json()["tileMatrixSetLimits"]


def test_bbox_shows_the_same_pixels_as_tiles(served: TestClient) -> None:
    service = service_of(served)
    tile = middle_tile(service)
    bounds = service.rasters.view("restored", MERCATOR).pyramid.grid.bounds(tile.z, tile.window)
    box = ",".join(map(repr, bounds))
    crs = {"coord_crs": "EPSG:3857", "dst_crs": "EPSG:3857"}
    part = served.get(f"/restored/bbox/{box}/256x256.png", params=crs)
    direct = served.get(f"/tiles/{path_of(served)}.png")
    one, other = (
        np.asarray(Image.open(io.BytesIO(a.content)).convert("RGB"), np.int16) for a in (part, direct)
    )
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("coordinates", [[], [[]], [[[]]], [[[1]]], [[[[]]]], "round"])
def test_a_feature_without_a_shape_is_a_bad_request(served: TestClient, coordinates: object) -> None:
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": coordinates},
    }
    answer = served.post("/old/feature/64x48.png", json=feature)
    assert 400 <= answer.status_code < 500


def test_a_feature_hides_pixels_outside_it(served: TestClient) -> None:
    west, south, east, north = served.get("/tilejson.json").json()["bounds"]
    ring = [[west, south], [east, south], [east, north], [west, south]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    answer = served.post("/old/feature.png?max_size=100", json=feature)
    assert answer.status_code == 200
    alpha = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3]
    assert 0.4 < (alpha != 0).mean() < 0.6


def test_wmts_capabilities_are_complete(served: TestClient) -> None:
    answer = served.get("/restored/WMTSCapabilities.xml")
    assert answer.headers["content-type"] == "application/xml"
    root = ET.fromstring(answer.content)
    names = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}
    assert root.findtext("w:Contents/w:Layer/ows:Identifier", namespaces=names) == "restored"
    assert "AI-restored" in (root.findtext("w:Contents/w:Layer/ows:Abstract", namespaces=names) or "")
    template = root.find("w:Contents/w:Layer/w:ResourceURL", names).attrib["template"]  # type: ignore[union-attr]
    tile = middle_tile(service_of(served))
    for ours, value in (
        ("TileMatrixSet", MERCATOR),
        ("TileMatrix", tile.z),
        ("TileCol", tile.x),
        ("TileRow", tile.y),
    ):
        template = template.replace(f"{{{ours}}}", str(value))
    assert served.get(template).status_code == 200
    mercator = next(
        element
        for element in root.findall("w:Contents/w:TileMatrixSet", names)
        if element.findtext("ows:Identifier", namespaces=names) == MERCATOR
    )
    first = mercator.find("w:TileMatrix", names)
    assert first is not None
    assert float(first.findtext("w:ScaleDenominator", namespaces=names) or 0) == pytest.approx(
        559082264.0287178
    )


def test_the_difference_at_a_point_is_a_number_of_grey_levels(served: TestClient) -> None:
    service = service_of(served)
    west, south, east, north = service.rasters.view("old", "WebMercatorQuad").bounds_lonlat
    lng, lat = west + 0.4 * (east - west), south + 0.6 * (north - south)
    answer = served.get(f"/difference/point/{lng},{lat}").json()
    (change,) = answer["values"]
    assert answer["band_names"] == ["grey levels"]
    pyramid = service.rasters.view("difference", "WebMercatorQuad").pyramid
    xs, ys = transform("EPSG:4326", "EPSG:3857", [lng], [lat])
    pixel = pyramid.grid.covering(pyramid.native_zoom, BBox(xs[0], ys[0], xs[0], ys[0]))
    seen = service.raster("difference", "WebMercatorQuad", pyramid.native_zoom, pixel).rgb[0, 0, 0]
    assert change == (float(seen) - 128) / 4
