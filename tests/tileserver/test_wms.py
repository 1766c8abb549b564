"""WMS 1.1.1 and 1.3.0: capabilities, maps in several CRSs and axis orders, and refusals in XML."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import mercantile
import numpy as np
import pytest
from conftest import middle_tile, service_of
from owslib.wms import WebMapService
from PIL import Image
from starlette.testclient import TestClient

MERCATOR = "WebMercatorQuad"
NEW = "{http://www.opengis.net/wms}"
OGC = "{http://www.opengis.net/ogc}"


def query(client: TestClient, version: str = "1.3.0", **changes: str) -> str:
    """A GetMap request for the ground of a tile."""
    tile = middle_tile(service_of(client))
    bounds = ",".join(map(repr, mercantile.xy_bounds(tile.x, tile.y, tile.z)))
    pairs = {
        "SERVICE": "WMS",
        "VERSION": version,
        "REQUEST": "GetMap",
        "LAYERS": "restored",
        "STYLES": "",
        "CRS" if version == "1.3.0" else "SRS": "EPSG:3857",
        "BBOX": bounds,
        "WIDTH": "256",
        "HEIGHT": "256",
        "FORMAT": "image/png",
        **changes,
    }
    return "&".join(f"{name}={value}" for name, value in pairs.items() if value is not None)


def pixels(body: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert(mode), np.int16)


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
@pytest.mark.parametrize("path", ["/wms", "/"])
def test_a_map_of_a_tile_is_the_tile(served: TestClient, version: str, path: str) -> None:
    tile = middle_tile(service_of(served))
    for layer in ("restored", "old"):
        answer = served.get(f"{path}?{query(served, version, LAYERS=layer)}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert ("x-orthosharp" in answer.headers) == (layer == "restored")
        same = served.get(f"/{layer}/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}.png")
        # Interpolated at the very same places, up to rounding.
        np.testing.assert_allclose(pixels(answer.content), pixels(same.content), atol=1)


def test_axes_are_in_the_order_of_the_version_and_the_crs(served: TestClient) -> None:
    tile = middle_tile(service_of(served))
    west, south, east, north = mercantile.bounds(tile.x, tile.y, tile.z)
    by_x, by_y = f"{west},{south},{east},{north}", f"{south},{west},{north},{east}"
    # A Mercator tile is a rectangle in degrees too, up to the curve of latitudes.
    wanted = pixels(served.get(f"/wms?{query(served)}").content)
    for version, crs, bounds in (
        ("1.3.0", "CRS:84", by_x),
        ("1.3.0", "EPSG:4326", by_y),
        ("1.1.1", "EPSG:4326", by_x),
    ):
        name = "CRS" if version == "1.3.0" else "SRS"
        answer = served.get(f"/wms?{query(served, version, BBOX=bounds, **{name: crs})}")
        assert np.abs(pixels(answer.content) - wanted).mean() < 3, crs
    swapped = served.get(f"/wms?{query(served, BBOX=by_x, CRS='EPSG:4326')}")
    assert swapped.status_code == 200
    assert pixels(swapped.content, "RGB").min() == 255, "the other axis order is elsewhere, where nothing is"


def test_outside_is_blank_and_colours_are_as_asked(served: TestClient) -> None:
    elsewhere = {"BBOX": "0,0,1000,1000"}
    plain = served.get(f"/wms?{query(served, **elsewhere)}")
    assert (plain.status_code, pixels(plain.content).min()) == (200, 255)
    clear = served.get(f"/wms?{query(served, TRANSPARENT='TRUE', **elsewhere)}")
    assert pixels(clear.content, "RGBA")[..., 3].max() == 0
    red = served.get(f"/wms?{query(served, BGCOLOR='0xFF0000', FORMAT='image/jpeg', **elsewhere)}")
    assert red.headers["content-type"] == "image/jpeg"
    assert pixels(red.content)[100, 100].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"LAYERS": "roads"}, "LayerNotDefined"),
        ({"LAYERS": "old,restored"}, "LayerNotDefined"),
        ({"STYLES": "red"}, "StyleNotDefined"),
        ({"FORMAT": "image/gif"}, "InvalidFormat"),
        ({"CRS": "/etc/passwd"}, "InvalidCRS"),
        ({"CRS": "EPSG:1"}, "InvalidCRS"),
        ({"BBOX": "1,2,3"}, "InvalidParameterValue"),
        ({"BBOX": "3,2,1,0"}, "InvalidParameterValue"),
        ({"BBOX": "nan,0,1,1"}, "InvalidParameterValue"),
        ({"BBOX": "-1e300,-1e300,1e300,1e300"}, "InvalidParameterValue"),
        ({"WIDTH": "99999"}, "InvalidParameterValue"),
        ({"HEIGHT": "0"}, "InvalidParameterValue"),
        ({"BGCOLOR": "red"}, "InvalidParameterValue"),
        ({"REQUEST": "GetFeatureInfo"}, "OperationNotSupported"),
        ({"REQUEST": ""}, "MissingParameterValue"),
        ({"BBOX": ""}, "MissingParameterValue"),
        ({"SERVICE": "WFS"}, "InvalidParameterValue"),
    ],
)
@pytest.mark.parametrize("path", ["/wms", "/"])
def test_refusals_are_service_exceptions(
    served: TestClient, path: str, changes: dict[str, str], code: str
) -> None:
    answer = served.get(f"{path}?{query(served, **changes)}")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/xml")
    assert answer.headers["cache-control"] == "no-store"
    (found,) = ET.fromstring(answer.content)
    assert (found.tag, found.get("code")) == (f"{OGC}ServiceException", code)
    assert found.text


def test_exceptions_of_the_older_version_have_its_form(served: TestClient) -> None:
    answer = served.get(f"/?{query(served, '1.1.1', LAYERS='roads')}")
    assert answer.headers["content-type"] == "application/vnd.ogc.se_xml"
    root = ET.fromstring(answer.content)
    assert (root.get("version"), root[0].tag, root[0].get("code")) == (
        "1.1.1",
        "ServiceException",
        "LayerNotDefined",
    )


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", "1.3.0"),
        ("1.3.0", "1.3.0"),
        ("1.1.1", "1.1.1"),
        ("1.0.0", "1.1.1"),
        ("1.2.0", "1.1.1"),
        ("2.0", "1.3.0"),
    ],
)
def test_versions_are_negotiated(served: TestClient, asked: str, given: str) -> None:
    answer = served.get(f"/?SERVICE=WMS&REQUEST=GetCapabilities&VERSION={asked}")
    assert ET.fromstring(answer.content).get("version") == given


def test_the_root_without_service_stays_the_page(served: TestClient) -> None:
    for address in ("/", "/?x=1", "/?REQUEST=GetMap"):
        assert served.get(address).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
def test_owslib_reads_the_capabilities(served: TestClient, version: str) -> None:
    document = served.get(f"/wms?SERVICE=WMS&REQUEST=GetCapabilities&VERSION={version}")
    wms = WebMapService("http://testserver/wms", version=version, xml=document.content)
    assert list(wms.contents) == ["restored", "old", "new", "difference"]
    layer = wms["restored"]
    service = service_of(served)
    assert layer.boundingBoxWGS84 == pytest.approx(service.old.info.bounds_lonlat)
    assert {"EPSG:3857", "EPSG:4326", "EPSG:32618"} <= set(layer.crsOptions)
    assert "AI-restored by tiny" in layer.abstract
    assert layer.attribution["title"] == "Test Survey <1998>"
    assert wms.getOperationByName("GetMap").formatOptions == ["image/png", "image/webp", "image/jpeg"]
    assert wms.getOperationByName("GetMap").methods[0]["url"] == "http://testserver/wms?"
