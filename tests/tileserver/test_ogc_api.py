"""OGC API Common, Tiles and Maps: what the documents say is there."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import middle_tile, service_of
from PIL import Image
from starlette.testclient import TestClient

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def links_in(content: object) -> Iterator[dict[str, str]]:
    if isinstance(content, dict):
        if "href" in content:
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for one in content:
            yield from links_in(one)


def filled(link: dict[str, str], client: TestClient) -> str:
    """The address of a link, of a template one tile."""
    href = link["href"]
    if not link.get("templated"):
        assert "{" not in href, "a template is marked as one"
        return href
    layer, grid = re.findall(r"/(\w+)/tiles/(\w+)/", href)[0]
    tile = middle_tile(service_of(client), tms=grid)
    assert f"/{layer}/" in href
    for name, number in (("tileMatrix", tile.z), ("tileCol", tile.x), ("tileRow", tile.y)):
        assert href.count(f"{{{name}}}") == 1
        href = href.replace(f"{{{name}}}", str(number))
    return href


@pytest.mark.slow
def test_every_link_leads_somewhere(served: TestClient) -> None:
    """From the landing page on, as JSON; what is not JSON is of the type that the link says."""
    root = str(served.base_url)
    waiting, seen, followed = ["/"], set(), 0
    while waiting:
        answer = served.get(waiting.pop(), headers=JSON)
        assert answer.status_code == 200, answer.url
        if "json" not in answer.headers["content-type"]:
            continue
        for link in links_in(answer.json()):
            if not link["href"].startswith(root):
                continue
            assert {"href", "rel", "type", "title"} <= link.keys()
            address = filled(link, served)
            if address in seen:
                continue
            seen.add(address)
            followed += 1
            target = served.get(address, headers={"Accept": link["type"]})
            assert target.status_code == 200, address
            kind = link["type"].split(";")[0]
            assert target.headers["content-type"].startswith(
                "application/json" if "openapi" in kind else kind
            ), address
            if kind == "application/json" and "openapi" not in link["type"]:
                waiting.append(address)
    assert followed > 60


def test_tilesets_are_those_that_answer(served: TestClient) -> None:
    for layer in ("old", "restored", "new", "difference"):
        listed = [one["tileMatrixSetURI"] for one in served.get(f"/{layer}/tiles").json()["tilesets"]]
        assert any(uri.endswith("/WebMercatorQuad") for uri in listed)
        assert not any("NZTM" in uri for uri in listed)
        for uri in listed:
            grid = uri.rsplit("/", 1)[1]
            tile = middle_tile(service_of(served), tms=grid)
            limits = served.get(f"/{layer}/tiles/{grid}").json()["tileMatrixSetLimits"]
            (one,) = [one for one in limits if one["tileMatrix"] == str(tile.z)]
            assert one["minTileRow"] <= tile.y <= one["maxTileRow"]
            assert one["minTileCol"] <= tile.x <= one["maxTileCol"]
        assert served.get(f"/{layer}/tiles/NZTM2000Quad").status_code == 404


def test_the_root_is_the_map_for_people_and_a_landing_page_for_programs(served: TestClient) -> None:
    for headers in (HTML, {"Accept": "*/*"}, {}):
        page = served.get("/", headers=headers)
        assert page.headers["content-type"].startswith("text/html")
        assert "Accept" in page.headers["vary"]
        assert "OpenStreetMap" in page.text or "viewer" in page.text
    landing = served.get("/", headers=JSON)
    assert landing.headers["content-type"] == "application/json"
    assert "Accept" in landing.headers["vary"]
    assert served.get("/?f=json", headers=HTML).json() == landing.json() == served.get("/ogcapi").json()
    assert {link["rel"] for link in landing.json()["links"]} >= {
        "self",
        "service-desc",
        "service-doc",
        "conformance",
        "data",
    }


def test_documents_are_pages_without_other_hosts(served: TestClient) -> None:
    paths = (
        "/conformance",
        "/collections",
        "/collections/old",
        "/tileMatrixSets",
        "/tileMatrixSets/WebMercatorQuad",
        "/restored/tiles",
        "/restored/tiles/WebMercatorQuad",
        "/docs",
    )
    for path in paths:
        page = served.get(f"{path}?f=html" if path != "/docs" else path)
        assert page.status_code == 200, path
        assert page.headers["content-type"].startswith("text/html")
        assert page.text == served.get(path, headers=HTML).text
        loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', page.text)
        assert loaded, "it has a style sheet"
        for address in loaded:
            assert urlsplit(address).netloc in ("", urlsplit(str(served.base_url)).netloc)
            assert served.get(address).status_code == 200
        assert "<script" not in page.text
        assert "style=" not in page.text, "the content security policy forbids it"


@pytest.mark.parametrize("url", ["/collections/old/map", "/old/map"])
def test_a_map_is_the_ground_that_was_asked_for(served: TestClient, url: str) -> None:
    service = service_of(served)
    tile = middle_tile(service)
    west, south, east, north = service.rasters.view("old", "WebMercatorQuad").pyramid.grid.bounds(
        tile.z, tile.window
    )
    wanted = {"bbox": f"{west},{south},{east},{north}", "bbox-crs": "[EPSG:3857]", "crs": "EPSG:3857"}
    answer = served.get(url, params={**wanted, "width": 256, "height": 256, "f": "png"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/EPSG/0/3857>"
    found = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), int)
    path = f"/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    expected = np.asarray(Image.open(io.BytesIO(served.get(path).content)).convert("RGB"), int)
    assert np.abs(found - expected).max() <= 1


def test_a_map_obeys_axis_order_format_and_background(served: TestClient) -> None:
    url = "/collections/old/map"
    west, south, east, north = served.get("/old/bounds").json()["bounds"]
    plain = served.get(url, params={"bbox": f"{west},{south},{east},{north}", "width": 100, "f": "png"})
    swapped = served.get(
        url,
        params={"bbox": f"{south},{west},{north},{east}", "bbox-crs": "EPSG:4326", "width": 100, "f": "png"},
    )
    assert plain.content == swapped.content
    assert "public" in plain.headers["cache-control"]
    for kind in ("image/png", "image/webp", "image/jpeg"):
        answer = served.get(url, headers={"Accept": f"text/html;q=0.1,{kind};q=0.9"})
        assert answer.headers["content-type"] == kind
        assert "Accept" in answer.headers["vary"]
        assert max(Image.open(io.BytesIO(answer.content)).size) <= 1024
    beside = {"bbox": f"{west - 1},{south},{west - 0.5},{north}", "width": 50, "height": 50}
    clear = Image.open(io.BytesIO(served.get(url, params=beside).content)).convert("RGBA")
    assert clear.getextrema()[3] == (0, 0)
    red = served.get(url, params={**beside, "bgcolor": "0xFF0000", "transparent": "false"})
    assert Image.open(io.BytesIO(red.content)).convert("RGBA").getpixel((5, 5)) == (255, 0, 0, 255)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("bbox=1,2,3", 422),
        ("bbox=nan,0,1,1", 422),
        ("bbox=5,5,4,4", 422),
        ("width=100000", 422),
        ("width=0", 422),
        ("crs=/etc/passwd", 422),
        ("bbox-crs=EPSG:0", 422),
        ("f=tiff", 404),
        ("bgcolor=red", 422),
    ],
)
def test_maps_that_cannot_be_drawn(served: TestClient, query: str, status: int) -> None:
    answer = served.get(f"/collections/restored/map?{query}")
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]


def test_unknown_layers_and_grids(served: TestClient) -> None:
    for path in ("/collections/nothing", "/collections/nothing/map", "/restored/tiles/Nothing"):
        assert served.get(path).status_code == 404
    assert served.get("/tileMatrixSets/Nothing").status_code == 404
