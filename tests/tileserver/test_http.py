"""Routes, headers and errors, as a client sees them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import mercantile
import numpy as np
import pytest
from conftest import middle_tile, path_of, service_of
from PIL import Image
from starlette.testclient import TestClient

from sr_model import InferenceError
from tileserver.errors import HTTP_STATUS, OverloadedError, ReadError, SourceChangedError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress
from tileserver.web.app import create_app

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"


@pytest.mark.parametrize(
    ("extension", "media_type", "format_name"),
    [("png", "image/png", "PNG"), ("webp", "image/webp", "WEBP"), ("jpg", "image/jpeg", "JPEG")],
)
def test_tile_and_its_headers(served: TestClient, extension: str, media_type: str, format_name: str) -> None:
    url = f"/tiles/{path_of(served)}.{extension}"
    first = served.get(url)
    assert first.status_code == 200
    assert first.headers["content-type"] == media_type
    image = Image.open(io.BytesIO(first.content))
    assert (image.format, image.size) == (format_name, (256, 256))
    assert first.headers["cache-status"] == "orthosharp; fwd=miss"
    assert first.headers["cache-control"] == "public, max-age=600"
    stages = [part.split(";")[0] for part in first.headers["server-timing"].split(", ")]
    assert stages == ["queue", "read", "infer", "encode"]
    restorer = service_of(served).restorer
    assert first.headers["x-orthosharp"] == f"AI-restored; model=tiny; digest={restorer.digest}"
    assert first.headers["access-control-allow-origin"] == "*"
    second = served.get(url)
    assert second.headers["cache-status"] == "orthosharp; hit"
    assert second.content == first.content
    same = served.get(f"/restored/tiles/{MERCATOR}/{path_of(served)}.{extension}")
    assert same.content == first.content


def test_revalidation_costs_nothing(served: TestClient) -> None:
    url = f"/tiles/{path_of(served, 1)}.webp"
    etag = served.get(url).headers["etag"]
    assert not etag.startswith("W/")
    for header in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = served.get(url, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["cache-control"] == "public, max-age=600"
    assert served.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_hidpi_and_layers(served: TestClient) -> None:
    pictures = {}
    for layer in ("old", "restored", "new", "difference"):
        answer = served.get(f"/{layer}/tiles/{MERCATOR}/{path_of(served)}@2x.png")
        assert answer.status_code == 200
        pictures[layer] = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)
        assert pictures[layer].shape == (512, 512, 3)
        assert ("x-orthosharp" in answer.headers) == (layer in ("restored", "difference"))
    assert pictures["restored"][..., 0].mean() > pictures["old"][..., 0].mean() + 5
    assert np.abs(pictures["new"] - pictures["old"]).mean() > 5
    geographic = middle_tile(service_of(served), tms="WGS1984Quad")
    url = f"/restored/tiles/WGS1984Quad/{geographic.z}/{geographic.x}/{geographic.y}.png"
    assert served.get(url).status_code == 200


def test_tilejson_names_tiles_that_exist(served: TestClient) -> None:
    for url, layer, tms in (
        ("/tilejson.json", "restored", MERCATOR),
        ("/old/WGS1984Quad/tilejson.json", "old", "WGS1984Quad"),
        ("/new/WebMercatorQuad/tilejson.json?tile_format=png", "new", MERCATOR),
    ):
        answer = served.get(url)
        document = answer.json()
        assert document["tilejson"] == "3.0.0"
        assert "etag" in answer.headers
        assert "Test Survey &lt;1998&gt;" in document["attribution"]
        digest = service_of(served).restorer.digest[:12]
        assert (f"AI-restored (tiny, {digest})" in document["attribution"]) == (layer == "restored")
        west, south, east, north = document["bounds"]
        lon, lat, _ = document["center"]
        assert west < lon < east
        assert south < lat < north
        tile = middle_tile(service_of(served), tms=tms)
        assert document["minzoom"] < tile.z < document["maxzoom"]
        template = document["tiles"][0]
        assert template.startswith("http://testserver/")
        found = served.get(template.format(z=tile.z, x=tile.x, y=tile.y))
        assert found.status_code == 200
    assert document["tiles"][0].endswith(".png")


def test_all_documents_say_the_same_zooms_and_those_answer(served: TestClient) -> None:
    found = served.get("/restored/WMTSCapabilities.xml").text
    wmts = [
        int(zoom)
        for zoom in re.findall(r"<TileMatrix>(\d+)</TileMatrix>", found.partition("</TileMatrixSetLink>")[0])
    ]
    tileset = served.get(f"/restored/tiles/{MERCATOR}").json()["tileMatrixSetLimits"]
    page = served.get("/config.json").json()
    document = served.get("/tilejson.json").json()
    zooms = list(range(document["minzoom"], document["maxzoom"] + 1))
    assert zooms == wmts == [int(one["tileMatrix"]) for one in tileset]
    assert (page["minzoom"], page["maxzoom"]) == (zooms[0], zooms[-1])
    lon, lat, _ = document["center"]
    for zoom in (zooms[0] - 1, *zooms, zooms[-1] + 1):
        x, y, z = mercantile.tile(lon, lat, max(zoom, 0))
        answer = served.get(f"/old/tiles/{MERCATOR}/{zoom if zoom < 0 else z}/{x}/{y}.jpg")
        assert (answer.status_code != 404) == (zoom in zooms), zoom


def test_tilejson_in_sizes_and_zooms(served: TestClient) -> None:
    plain = served.get("/tilejson.json").json()
    assert plain["tileSize"] == 256
    tile = middle_tile(service_of(served))
    for query, shown, pixels in (("", 256, 256), ("?scale=2", 256, 512), ("?tilesize=512", 512, 512)):
        document = served.get(f"/tilejson.json{query}").json()
        assert document["tileSize"] == shown
        answer = served.get(document["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y))
        assert Image.open(io.BytesIO(answer.content)).size == (pixels, pixels)
    document = served.get(f"/old/{MERCATOR}/tilejson.json?minzoom=12&maxzoom=14").json()
    assert (document["minzoom"], document["center"][2], document["maxzoom"]) == (12, 14, 14)


@pytest.mark.parametrize(
    ("url", "status", "word"),
    [
        ("/tiles/25/0/0.png", 404, "zoom 25"),
        ("/tiles/-1/0/0.png", 404, "zoom -1"),
        ("/tiles/3/8/0.png", 404, "no tile"),
        ("/tiles/{middle}.gif", 404, "png, webp, jpg"),
        ("/tiles/{middle}@3x.png", 422, "@2x"),
        ("/tiles/{middle}@x.png", 422, "y: "),
        ("/tiles/a/0/0.png", 422, "z: "),
        ("/tiles/99999999999999999999/0/0.png", 404, "zoom"),
        ("/tiles/1/1.5/0.png", 422, "x: "),
        ("/nolayer/tiles/WebMercatorQuad/1/1/1.png", 404, "no such address"),
        ("/old/tiles/NoSuchSet/1/1/1.png", 404, "tileMatrixSets"),
        ("/old/tiles/GNOSISGlobalGrid/1/1/1.png", 404, "tileMatrixSets"),
        ("/old/tiles/NZTM2000Quad/1/1/1.png", 404, ""),
        ("/old/NoSuchSet/tilejson.json", 404, "tileMatrixSets"),
        ("/tilejson.json?tile_format=gif", 422, "tile_format"),
        ("/tilejson.json?tilesize=300", 422, "256 or 512"),
        ("/tilejson.json?scale=3", 422, "scale"),
        ("/tilejson.json?maxzoom=30", 422, "zooms that are served"),
        ("/tilejson.json?minzoom=12&maxzoom=11", 422, "zooms that are served"),
        ("/restored/bbox/10,10,11,11.png", 404, "outside"),
        ("/restored/bbox/3,2,1,0.png", 422, "minx,miny"),
        ("/restored/bbox/nan,2,3,4.png", 422, "minx,miny"),
        ("/restored/preview/99999x99999.png", 422, "2048"),
        ("/restored/preview.png?max_size=0", 422, "2048"),
        ("/restored/point/0,0", 404, "no data"),
        ("/restored/preview/1x2.png?dst_crs=EPSG:9999999", 422, "EPSG:3857"),
        ("/restored/preview/1x2.png?dst_crs=EPSG:CODE", 422, "EPSG:3857"),
        ("/old/point/1e300,5", 422, "lon,lat"),
        ("/old/point/nan,5", 422, "lon,lat"),
        ("/old/point/5,inf", 422, "lon,lat"),
        ("/old/point/1e8,5?coord_crs=EPSG:3857", 404, "no data"),
        ("/restored/bbox/-1e308,-1e308,1e308,1e308.png?coord_crs=EPSG:3857", 422, "minx,miny"),
        ("/old/bbox/-73.54,42,-73.53,42.0000000001.png", 422, "narrow"),
        ("/restored/tiles/WebMercatorQuad?maxzoom=1000000000", 422, "0 to 21"),
        ("/restored/tiles/WebMercatorQuad?minzoom=-1", 422, "0 to 21"),
        ("/restored/statistics?histogram_range=5,1", 404, ""),
        ("/restored/statistics?histogram_bins=1000000000", 404, ""),
        ("/viewer/../app.py", 404, "no such address"),
        ("/viewer/nothing.js", 404, "no such address"),
    ],
)
def test_bad_requests_get_a_status_and_one_line(served: TestClient, url: str, status: int, word: str) -> None:
    before = service_of(served).metrics.inferences._value.get()
    answer = served.get(url.format(middle=path_of(served)))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]
    assert word in answer.json()["detail"]
    assert "\n" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert service_of(served).metrics.inferences._value.get() == before


def test_page_its_files_and_its_configuration(served: TestClient) -> None:
    page = served.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    config = served.get("/config.json").json()
    assert config["layers"] == ["old", "restored", "difference", "new"]
    assert config["ai_notice"] == f"AI-restored by tiny ({service_of(served).restorer.digest[:12]})"
    assert config["credit"] == "Test Survey <1998>"
    tile = middle_tile(service_of(served))
    for template in config["tiles"].values():
        assert served.get(template.format(z=tile.z, x=tile.x, y=tile.y)).status_code == 200


@pytest.mark.parametrize(
    "url",
    ["/", "/viewer/main.js", "/tiles/{middle}.png", "/tiles/19/0/0.png", "/nowhere", "/metrics", "/old/info"],
)
def test_every_response_has_security_headers(served: TestClient, url: str) -> None:
    for method in ("GET", "GET", "HEAD"):  # the second time from memory, where there is one
        answer = served.request(method, url.format(middle=path_of(served)))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert "server" not in answer.headers


def test_health_and_metrics(served: TestClient) -> None:
    assert served.get("/healthz").json() == {"status": "ok"}
    assert served.get("/readyz").json()["status"] == "ready"
    served.get(f"/tiles/{path_of(served)}.png")
    text = served.get("/metrics").text
    names = (
        "inferences_total",
        "requests_total",
        "cache_lookups_total",
        "queue_length",
        "stage_seconds_bucket",
    )
    for name in names:
        assert f"orthosharp_{name}" in text
    assert 'orthosharp_requests_total{layer="restored",status="200"}' in text


@pytest.fixture
def broken(make_service: MakeService) -> TestClient:
    """An application that was not warmed up, for services that fail."""
    service = make_service()
    return TestClient(create_app(service.settings, service), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ReadError("a block cannot be read"), 502),
        (InferenceError("the network failed"), 500),
        (OverloadedError("full", 7), 503),
        (SourceChangedError("replaced"), 503),
        (RuntimeError("/secret/path/old.tif is broken"), 500),
        (OSError(2, "No such file", "/secret/path/old.tif"), 500),
    ],
)
def test_failures_are_reported_and_never_cached(
    broken: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    service = service_of(broken)
    url = f"/tiles/{path_of(broken)}.png"
    with monkeypatch.context() as patch:
        patch.setattr(service.rasters, "raster", lambda *_: (_ for _ in ()).throw(error))
        for _ in range(2):
            answer = broken.get(url)
            assert answer.status_code == status
            assert answer.headers["cache-control"] == "no-store"
            assert list(answer.json()) == ["detail"]
            assert "/secret" not in answer.text
            waits = {OverloadedError: "7", SourceChangedError: "60"}
            assert answer.headers.get("retry-after") == waits.get(type(error))
            assert answer.headers["x-content-type-options"] == "nosniff"
    text = broken.get("/metrics").text
    assert f'orthosharp_requests_total{{layer="restored",status="{status}"}} 2.0' in text
    assert broken.get(url).status_code == 200


def test_empty_tiles_are_transparent_or_204(
    make_service: MakeService, make_photo: Callable[..., Path]
) -> None:
    service = make_service(source=str(make_photo("holed", hole="alpha")))
    client = TestClient(create_app(service.settings, service))
    pyramid = service.rasters.view("old", MERCATOR).pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    tile = TileAddress(
        pyramid.native_zoom, (extent.x + extent.width // 8) // 256, (extent.y + extent.height // 4) // 256
    )
    url = f"/tiles/{tile.z}/{tile.x}/{tile.y}"
    for extension in ("png", "webp"):
        answer = client.get(f"{url}.{extension}")
        assert answer.status_code == 200
        assert np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3].max() == 0
    answer = client.get(f"{url}.jpg")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "etag" not in answer.headers


def test_a_replaced_photograph_makes_the_server_unready(
    make_service: MakeService, make_photo: Callable[..., Path]
) -> None:
    path = make_photo("replaced")
    service = make_service(source=str(path))
    service.warm_up()
    client = TestClient(create_app(service.settings, service))
    url = f"/tiles/{path_of(client)}.png"
    assert client.get(url).status_code == 200
    assert client.get("/readyz").status_code == 200
    make_photo("replaced", seed=3, width=700)
    answer = client.get("/old/preview.png?max_size=100")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "restart" in ready.json()["detail"]
    assert client.get(url).status_code == 200


def test_works_behind_a_prefix(make_service: MakeService) -> None:
    service = make_service()
    client = TestClient(create_app(service.settings, service), root_path="/maps")
    document = client.get("/maps/tilejson.json").json()
    assert document["tiles"][0].startswith("http://testserver/maps/restored/tiles/")
    tile = middle_tile(service)
    answer = client.get(document["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y))
    assert answer.status_code == 200
    assert "x-orthosharp" in answer.headers


def test_every_error_has_a_status() -> None:
    def leaves(kind: type[Exception]) -> list[type[Exception]]:
        return [leaf for child in kind.__subclasses__() for leaf in [child, *leaves(child)]]

    for kind in leaves(TileServerError):
        statuses = [status for known, status in HTTP_STATUS if issubclass(kind, known)]
        assert statuses, kind
    assert Settings(source="x").max_age_s == 600
