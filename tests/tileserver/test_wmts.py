"""WMTS, as desktop programs read it: capabilities, tiles by key-value pairs, and refusals in XML."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from conftest import middle_tile, service_of
from owslib.wmts import WebMapTileService
from PIL import Image
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web.wmts import capabilities

NAMES = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}
MERCATOR = "WebMercatorQuad"


def test_web_mercator_comes_first_and_far_sets_not_at_all(make_service: Callable[..., TileService]) -> None:
    root = capabilities(make_service(), "http://x", ["restored"])
    links = [link.text for link in root.findall(".//w:TileMatrixSetLink/w:TileMatrixSet", NAMES)]
    sets = [found.text for found in root.findall("w:Contents/w:TileMatrixSet/ows:Identifier", NAMES)]
    assert links == sets
    assert links[0] == "WebMercatorQuad"
    assert "WGS1984Quad" in links
    assert "EuropeanETRS89_LAEAQuad" not in links


def test_each_layer_has_one_format_and_one_address(served: TestClient) -> None:
    document = ET.fromstring(served.get("/?service=wmts&request=GetCapabilities&SERVICE=WMTS").content)
    layers = document.findall("w:Contents/w:Layer", NAMES)
    assert [layer.findtext("ows:Identifier", None, NAMES) for layer in layers] == [
        "restored",
        "old",
        "new",
        "difference",
    ]
    for layer in layers:
        assert [found.text for found in layer.findall("w:Format", NAMES)] == ["image/png"]
        addresses = layer.findall("w:ResourceURL", NAMES)
        assert [found.get("format") for found in addresses] == ["image/png"]
    chosen = ET.fromstring(served.get("/old/WMTSCapabilities.xml?tile_format=webp").content)
    (address,) = chosen.findall(".//w:ResourceURL", NAMES)
    assert address.get("format") == "image/webp"
    assert str(address.get("template")).endswith(".webp")


def test_credit_and_date_stand_where_programs_show_them(make_service: Callable[..., TileService]) -> None:
    service = make_service()
    service.old.info = replace(service.old.info, date="1998-05-01")
    root = capabilities(service, "http://x", ["old", "restored"])
    old, restored = [
        layer.findtext("ows:Abstract", "", NAMES) for layer in root.iter(f"{{{NAMES['w']}}}Layer")
    ]
    assert old == "Test Survey <1998> | taken 1998-05-01"
    assert restored.startswith(f"{old} | AI-restored by tiny")


def tile_query(client: TestClient, **changes: str) -> str:
    tile = middle_tile(service_of(client))
    pairs = {
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": "restored",
        "STYLE": "default",
        "FORMAT": "image/png",
        "TILEMATRIXSET": MERCATOR,
        "TILEMATRIX": str(tile.z),
        "TILECOL": str(tile.x),
        "TILEROW": str(tile.y),
        **changes,
    }
    return "&".join(f"{name}={value}" for name, value in pairs.items() if value)


@pytest.mark.parametrize("path", ["/wmts", "/"])
def test_tiles_by_key_value_pairs_are_those_of_the_paths(served: TestClient, path: str) -> None:
    tile = middle_tile(service_of(served))
    for kind, extension in (("png", "png"), ("webp", "webp"), ("jpeg", "jpg"), ("jpg", "jpg")):
        answer = served.get(
            f"{path}?{tile_query(served, FORMAT=f'image/{kind}').lower().replace('quad', 'Quad')}"
        )
        assert answer.status_code == 400, "values have a case, unlike names"
        answer = served.get(f"{path}?{tile_query(served, FORMAT=f'image/{kind}')}")
        same = served.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.{extension}")
        assert answer.content == same.content
        for name in ("etag", "cache-control", "x-orthosharp", "content-type"):
            assert answer.headers[name] == same.headers[name]


@pytest.mark.parametrize(
    ("changes", "status", "code", "locator"),
    [
        ({"REQUEST": ""}, 400, "MissingParameterValue", "REQUEST"),
        ({"REQUEST": "GetFeatureInfo"}, 400, "OperationNotSupported", "REQUEST"),
        ({"LAYER": "roads"}, 400, "InvalidParameterValue", "LAYER"),
        ({"FORMAT": "image/gif"}, 400, "InvalidParameterValue", "FORMAT"),
        ({"TILEMATRIXSET": "NZTM2000Quad"}, 400, "InvalidParameterValue", "TILEMATRIXSET"),
        ({"TILEROW": "-1"}, 400, "InvalidParameterValue", "TILEROW"),
        ({"TILEROW": "99999999999"}, 400, "InvalidParameterValue", "TILEROW"),
        ({"TILEMATRIX": "29"}, 404, "TileOutOfRange", "TILEMATRIX"),
    ],
)
def test_refusals_are_exception_reports(
    served: TestClient, changes: dict[str, str], status: int, code: str, locator: str
) -> None:
    answer = served.get(f"/wmts?{tile_query(served, **changes)}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/xml; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    (found,) = ET.fromstring(answer.content)
    assert (found.get("exceptionCode"), found.get("locator", locator)) == (code, locator)
    assert found.findtext("ows:ExceptionText", "", NAMES)


def test_owslib_reads_capabilities_and_tiles(served: TestClient) -> None:
    document = served.get("/wmts?SERVICE=WMTS&REQUEST=GetCapabilities")
    wmts = WebMapTileService("http://testserver/wmts", xml=document.content)
    assert sorted(wmts.contents) == ["difference", "new", "old", "restored"]
    layer = wmts["restored"]
    assert layer.formats == ["image/png"]
    assert "AI-restored" in layer.abstract
    assert wmts.identification.accessconstraints == "Test Survey <1998>"
    tile = middle_tile(service_of(served))
    url = wmts.buildTileRequest(
        layer="restored",
        style="default",
        format="image/png",
        tilematrixset=MERCATOR,
        tilematrix=str(tile.z),
        row=tile.y,
        column=tile.x,
    )
    answer = served.get(f"/wmts?{url}")
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
