"""Photographs behind services: XYZ templates and WMTS, polite, with gaps as gaps and faults as faults."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.errors
from command_calls import call, refused
from conftest import running_server
from PIL import Image
from rasterio.windows import Window
from sheets_of_ground import GREEN, RED, Shown, near, write_sheet
from starlette.testclient import TestClient
from tile_services import FakeService, fake_service

import tileserver
from tileserver.errors import SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.services import client as client_module
from tileserver.photo.inputs.services.client import PoliteClient, ServiceFault
from tileserver.photo.inputs.services.enlargement import is_enlarged
from tileserver.photo.inputs.services.xyz import fill
from tileserver.photo.notice import code_of
from tileserver.photo.source import Source
from tileserver.service import TileService
from tileserver.tiling.grid import BBox
from tileserver.web.app import create_app

# Four by four tiles of zoom 18 from 77250, 96930 on.
ZOOM, COLUMN, ROW = 18, 77_250, 96_930
SIDE = 360 / 2**ZOOM


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_S", 0.01)


def latitude(row: float) -> float:
    return float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * row / 2**ZOOM)))))


def ground(side: int = 4) -> BBox:
    west = COLUMN * SIDE - 180
    return BBox(west, latitude(ROW + side), west + side * SIDE, latitude(ROW))


def open_xyz(service: FakeService, gsd_m: float | None = 0.45, suffix: str = "") -> Source:
    placing = Placing(source_pixel_size_m=gsd_m, source_bounds=ground())
    return Source.open(f"{service.url}/{{z}}/{{x}}/{{y}}.png{suffix}", placing=placing)


def read_tile(source: Source, column: int, row: int) -> Any:
    """The photograph under one tile of zoom 18."""
    left = (COLUMN + column) * 256
    with rasterio.open(source.path) as dataset:
        x = round(
            (left * dataset.transform.a - 20037508.342789244 - dataset.transform.c) / dataset.transform.a
        )
        top = 20037508.342789244 - (ROW + row) * 256 * dataset.transform.a
        y = round((dataset.transform.f - top) / dataset.transform.a)
        return dataset.read(window=Window(x, y, 256, 256))


def test_a_template_is_a_photograph_in_its_place(service: FakeService) -> None:
    with closing(open_xyz(service)) as source:
        assert source.info.pixel.gsd_m == pytest.approx(0.442, abs=0.01)
        for column, row in ((0, 0), (2, 1), (3, 3)):
            values = read_tile(source, column, row)
            assert (values[3] == 255).all()
            shown = values[:2].reshape(2, -1).mean(1)
            expected = 60 + 60 * ((COLUMN + column) % 3), 60 + 60 * ((ROW + row) % 3)
            assert shown == pytest.approx(expected, abs=2)
    assert service.most <= client_module.CONCURRENCY
    assert {agent.partition("/")[0] for agent in service.agents} == {"orthosharp"}


def test_rows_from_the_south_and_subdomains() -> None:
    assert fill("https://{s}.x/{z}/{x}/{-y}.png", 3, 1, 2) == "https://a.x/3/1/5.png"


def test_the_finest_zoom_is_found(service: FakeService) -> None:
    service.last_zoom = 17
    with closing(open_xyz(service, None)) as source:
        assert source.info.pixel.gsd_m == pytest.approx(0.884, abs=0.01)
        assert any("--source-pixel-size 0.88" in note for note in source.info.notes)


@pytest.mark.parametrize("kernel", [Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
@pytest.mark.parametrize("quality", [None, 95, 80])
def test_enlarged_pictures_are_told(kernel: Image.Resampling, quality: int | None) -> None:
    with rasterio.open(Path(tileserver.__file__).parent / "demo" / "2010.tif") as demo:
        picture = Image.fromarray(np.moveaxis(demo.read(), 0, 2))

    def window(factor: float) -> np.ndarray:
        image = picture.resize((512, 512), kernel, (300, 300, 300 + 512 / factor, 300 + 512 / factor))
        body = io.BytesIO()
        image.save(body, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
        return np.asarray(Image.open(body).convert("L"), np.float32)

    assert not is_enlarged([window(1.0)])
    assert [factor for factor in (2.0, 2.6, 3.3) if not is_enlarged([window(factor)])] == []


@pytest.mark.parametrize("kernel", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_zooms_that_are_only_enlarged_are_not_read(
    service: FakeService, kernel: Image.Resampling, image_format: str
) -> None:
    """Like a service that goes to zoom 21, and whose photograph has the pixels of zoom 18."""
    with rasterio.open(Path(tileserver.__file__).parent / "demo" / "2010.tif") as demo:
        picture = Image.fromarray(np.moveaxis(demo.read(window=Window(80, 80, 1024, 1024)), 0, 2))

    def draw(zoom: int, column: int, row: int) -> Image.Image | None:
        side = 256 * 2.0 ** (ZOOM - zoom)
        left, top = column * side - COLUMN * 256, row * side - ROW * 256
        box = (left, top, left + side, top + side)
        if zoom > ZOOM:
            return picture.resize((256, 256), kernel, box) if 0 <= left < 1024 > top >= 0 else None
        return picture.crop([int(value) for value in box]).resize((256, 256), Image.Resampling.BOX)

    service.draw, service.last_zoom, service.image_format = draw, 21, image_format
    with closing(open_xyz(service, None)) as source:
        assert source.info.pixel.gsd_m == pytest.approx(0.442, abs=0.01)
    assert not any(path.startswith("/21/") for path in service.asked)


def test_a_tile_that_is_not_there_is_a_gap(service: FakeService) -> None:
    gap = f"/{ZOOM}/{COLUMN + 1}/{ROW + 1}.png"
    service.fault = lambda path, count: (404, {}) if path == gap else None
    with closing(open_xyz(service)) as source:
        assert not read_tile(source, 1, 1)[3].any()
        assert read_tile(source, 2, 1)[3].all()


def test_a_busy_service_is_asked_again_when_it_says(service: FakeService) -> None:
    busy = f"/{ZOOM}/{COLUMN + 1}/{ROW + 1}.png"
    service.fault = lambda path, count: (429, {"Retry-After": "1"}) if path == busy and count < 3 else None
    with closing(open_xyz(service)) as source:
        assert read_tile(source, 1, 1)[3].all()
    assert service.asked[busy] == 3


@pytest.mark.slow
def test_a_failing_service_is_neither_a_gap_nor_black(
    service: FakeService, make_service: Callable[..., TileService], tmp_path: Path
) -> None:
    opened = make_service(
        source=f"{service.url}/{{z}}/{{x}}/{{y}}.png",
        source_pixel_size=0.45,
        source_bounds=ground(),
        resolution=0.45,
        colours="photo",
        store=str(tmp_path / "store"),
    )
    gateway = opened.old._virtual[0].gateway  # type: ignore[attr-defined]
    gateway._cache.clear()
    bad = f"/{ZOOM}/{COLUMN + 3}/{ROW + 3}.png"
    service.fault = lambda path, count: (503, {}) if path == bad else None
    with TestClient(create_app(opened.settings, opened), raise_server_exceptions=False) as http:
        url = f"/old/tiles/WebMercatorQuad{bad}"
        assert http.get(f"/old/tiles/WebMercatorQuad/{ZOOM}/{COLUMN}/{ROW}.png").status_code == 200
        before = service.asked[bad]
        gateway._failed.clear()
        assert http.get(url).status_code == 502
        assert "answered 503" in gateway.last_fault
        assert service.asked[bad] - before == client_module.ATTEMPTS
        # Nothing of it was kept: once the service is back, so is the tile.
        service.fault = lambda path, count: None
        gateway._failed.clear()
        answer = http.get(url)
        assert answer.status_code == 200
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
        assert (pixels[8:-8, 8:-8, 3] == 255).all()


def test_an_answer_that_is_no_image_is_a_fault(service: FakeService) -> None:
    page = f"/{ZOOM}/{COLUMN + 1}/{ROW + 1}.png"
    with closing(open_xyz(service)) as source:
        source._virtual[0].gateway._cache.clear()  # type: ignore[attr-defined]
        service.pages[page] = b"<html>maintenance</html>"
        with pytest.raises(rasterio.errors.RasterioError):
            read_tile(source, 1, 1)
        assert "maintenance" in source._virtual[0].gateway.last_fault  # type: ignore[attr-defined]


def test_a_long_retry_after_is_not_waited_for(service: FakeService) -> None:
    service.fault = lambda path, count: (503, {"Retry-After": "3600"})
    with closing(PoliteClient("x")) as client:
        for _ in range(2):
            with pytest.raises(ServiceFault, match="wait for"):
                client.get(f"{service.url}/1/1/1.png", 1000)
    # The second was not even sent.
    assert sum(service.asked.values()) == 1


@pytest.mark.parametrize(("status", "found"), [(400, True), (500, True), (503, False)])
def test_a_busy_service_is_not_taken_for_one_without_finer_zooms(
    service: FakeService, status: int, found: bool
) -> None:
    service.fault = lambda path, count: (status, {}) if path.startswith(f"/{ZOOM}/") else None
    if found:
        with closing(open_xyz(service, None)) as source:
            assert source.info.pixel.gsd_m == pytest.approx(0.884, abs=0.01)
    else:
        with pytest.raises(SourceError, match="answered 503"):
            open_xyz(service, None)


def test_answers_are_bounded(service: FakeService) -> None:
    with closing(PoliteClient("x")) as client, pytest.raises(ServiceFault, match="more than 100 bytes"):
        client.get(f"{service.url}/1/1/1.png", 100)


def test_credentials_go_to_the_named_host_only(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_HEADERS", "X-Key: abc")
    with closing(PoliteClient("other.example")) as client:
        client.get(f"{service.url}/1/1/1.png", 10**6)
    assert "X-Key" not in service.headers
    with closing(PoliteClient(service.url.removeprefix("http://"))) as client:
        client.get(f"{service.url}/1/1/1.png", 10**6)
    assert service.headers["X-Key"] == "abc"


def test_credentials_do_not_follow_a_redirect_to_another_host(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_HEADERS", "X-Key: secret")
    monkeypatch.setenv("GDAL_HTTP_BEARER", "token")
    with fake_service() as other:
        other.pages["/there"] = service.pages["/there"] = b"<a/>"
        service.fault = lambda path, _count: (
            (302, {"Location": f"{other.url}/there"}) if path == "/away" else None
        )
        client = PoliteClient(service.url.removeprefix("http://"))
        assert client.get(f"{service.url}/there", 100).body == b"<a/>"
        assert (service.headers["X-Key"], service.headers["Authorization"]) == ("secret", "Bearer token")
        assert client.get(f"{service.url}/away", 100).body == b"<a/>"
        client.close()
        assert {"X-Key", "Authorization"}.isdisjoint(other.headers)


def test_a_service_behind_a_proxy(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is asked through the proxy that the environment names, and the port of this machine is not."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", service.url)
    address = "http://maps.example/{z}/{x}/{y}.png"
    placing = Placing(source_pixel_size_m=0.45, source_bounds=ground())
    with closing(Source.open(address, placing=placing)) as source:
        shown = read_tile(source, 2, 1)[:2].reshape(2, -1).mean(1)
        assert shown == pytest.approx((60 + 60 * ((COLUMN + 2) % 3), 60 + 60 * ((ROW + 1) % 3)), abs=2)
    assert all(path.startswith("http://maps.example/") for path in service.asked)
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet.example,127.0.0.1"


def test_keys_know_address_edition_and_pixel_size(service: FakeService) -> None:
    def fingerprint(**how: Any) -> str:
        with closing(open_xyz(service, **how)) as source:
            return source.info.fingerprint

    first = fingerprint()
    # Another picture at the same address is not noticed; a secret is not part of it.
    service.image_format = "JPEG"
    assert fingerprint(suffix="?apikey=1") == fingerprint(suffix="?apikey=2") != first
    assert fingerprint() == first
    assert fingerprint(suffix=",edition=2") != first
    assert fingerprint(gsd_m=0.9) != first


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("{url}/{{z}}/{{x}}/{{y}}.png", (), "--source-bounds W,S,E,N"),
        ("{url}/{{z}}/{{y}}.png", ("--source-bounds", "1,1,2,2"), "Write {{z}}, {{x}}"),
        ("{url}/{{z}}/{{x}}/{{y}}/{{time}}.png", ("--source-bounds", "1,1,2,2"), "{{time}} is unknown"),
        ("{url}/none/{{z}}/{{x}}/{{y}}.png", ("--source-bounds", "1,1,2,2"), "no tiles on this ground"),
        (
            "{url}/{{z}}/{{x}}/{{y}}.png",
            ("--source-bounds", "1,1,2,2", "--crs", "EPSG:25832"),
            "Web Mercator",
        ),
        ("WMTS:{url}/page,layer=a", (), "is not a WMTS"),
        ("WMTS:{url}/none,layer=a", (), "answered 404"),
        ("WMTS:{url}/refused,layer=a", (), "layer 'a' is not public"),
        ("WMTS:{url}/wmts.xml,layer=b", (), "has no layer 'b': it has photo"),
        ("WMTS:{url}/wmts.xml,format=gif", (), "has no format image/gif: it has image/jpeg"),
        ("WMTS:{url}/wmts.xml,year=1968", (), "has no 'year'"),
        ("WMTS:{url}/wmts.xml,tilematrixset=x", (), "has no tilematrixset 'x': it has m"),
        ("WMTS:{url}/locked,layer=a", (), "GDAL_HTTP_USERPWD"),
        ("WMTS:http://127.0.0.1:9/wmts,layer=a", (), "does not answer"),
        ("WMTS:file,layer=a", (), "write WMTS:https://"),
    ],
)
def test_refusals_say_what_to_do(
    service: FakeService, source: str, options: tuple[str, ...], words: str
) -> None:
    service.pages |= {
        "/page": b"<html><body>hello</body></html>",
        "/refused": b"<ServiceExceptionReport><ServiceException>layer 'a' is not public"
        b"</ServiceException></ServiceExceptionReport>",
        "/wmts.xml": WMTS.format(url=service.url).encode(),
    }
    service.fault = lambda path, count: (401, {}) if path.startswith("/locked") else None
    refused(call("info", source.format(url=service.url), *options), words.format())


WMTS = """<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink"><ows:ServiceIdentification><ows:Fees>none</ows:Fees>
<ows:AccessConstraints>CC BY 4.0</ows:AccessConstraints></ows:ServiceIdentification>
<ows:ServiceProvider><ows:ProviderName>Survey of A</ows:ProviderName></ows:ServiceProvider>
<Contents><Layer><ows:Title>Town 1968</ows:Title><ows:WGS84BoundingBox><ows:LowerCorner>-74 42.3</ows:LowerCorner>
<ows:UpperCorner>-73.8 42.4</ows:UpperCorner></ows:WGS84BoundingBox><ows:Identifier>photo</ows:Identifier>
<Style isDefault="true"><ows:Identifier>default</ows:Identifier></Style><Format>image/jpeg</Format>
<TileMatrixSetLink><TileMatrixSet>m</TileMatrixSet></TileMatrixSetLink>
<ResourceURL format="image/jpeg" resourceType="tile" template="{url}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png"/>
</Layer><TileMatrixSet><ows:Identifier>m</ows:Identifier>
<ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>
<TileMatrix><ows:Identifier>18</ows:Identifier><ScaleDenominator>2132.7295838</ScaleDenominator>
<TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>
<MatrixWidth>262144</MatrixWidth><MatrixHeight>262144</MatrixHeight></TileMatrix>
<TileMatrix><ows:Identifier>17</ows:Identifier><ScaleDenominator>4265.4591676</ScaleDenominator>
<TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>
<MatrixWidth>131072</MatrixWidth><MatrixHeight>131072</MatrixHeight></TileMatrix>
</TileMatrixSet></Contents></Capabilities>"""


def test_credit_terms_and_opacity_come_from_the_capabilities(service: FakeService) -> None:
    service.pages["/wmts.xml"] = WMTS.format(url=service.url).encode()
    service.image_format = "JPEG"
    placing = Placing(source_pixel_size_m=0.45, source_bounds=ground())
    with closing(Source.open(f"WMTS:{service.url}/wmts.xml", placing=placing)) as source:
        assert (source.info.name, source.info.credit) == ("Town 1968", "Survey of A; CC BY 4.0")
        assert "service-without-transparency" in map(code_of, source.info.warnings)
        shown = read_tile(source, 2, 1)[:2].reshape(2, -1).mean(1)
        expected = 60 + 60 * ((COLUMN + 2) % 3), 60 + 60 * ((ROW + 1) % 3)
        assert shown == pytest.approx(expected, abs=3)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Source]]:
    """Our own server on a photograph of two colours, and the photograph itself."""
    path = write_sheet(tmp_path_factory.mktemp("ours") / "a.tif", 0, 0, RED, side=512, overviews=())
    with rasterio.open(path, "r+") as file:
        file.write(np.full((256, 256), 200, np.uint8), 2, window=((256, 512), (256, 512)))
        file.update_tags(CREDIT="Survey of A")
    with closing(Source.open(str(path))) as direct, running_server(path) as server:
        yield server.url, direct


@pytest.mark.parametrize(
    "kind",
    ["XYZ", "WMTS", "KVP", "WMS", "WMS 1.1.1", "WMS 4326", "WMS 1.1.1 4326", "WMS 32618", "redirected"],
)
def test_our_own_server_is_a_service(ours: tuple[str, Source], elsewhere: FakeService, kind: str) -> None:
    url, direct = ours
    elsewhere.fault = lambda path, _count: (301, {"Location": url + path})
    bounds = direct.info.bounds_lonlat
    name = {
        "XYZ": f"{url}/old/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png",
        "WMTS": f"WMTS:{url}/old/WMTSCapabilities.xml,layer=old",
        "KVP": f"WMTS:{url}/wmts,layer=old",
        "WMS": f"WMS:{url}/wms,layer=old",
        "WMS 1.1.1": f"WMS:{url}/wms?VERSION=1.1.1,layer=old",
        "WMS 4326": f"WMS:{url}/wms,layer=old,crs=EPSG:4326",
        "WMS 1.1.1 4326": f"WMS:{url}/wms?version=1.1.1,layer=old,crs=EPSG:4326",
        "WMS 32618": f"WMS:{url}/wms,layer=old,crs=EPSG:32618",
        "redirected": f"WMTS:{elsewhere.url}/old/WMTSCapabilities.xml,layer=old",
    }[kind]
    with closing(Source.open(name, placing=Placing(source_pixel_size_m=0.6, source_bounds=bounds))) as source:
        for zooms_out in (0, 2):
            shown, expected = Shown(source, zooms_out), Shown(direct, zooms_out)
            for place in ((100, 100), (300, 100), (300, 300), (450, 400)):
                found = expected.at(*place)
                assert found is not None
                assert near(shown.at(*place), found)
            assert shown.at(-60, 100) is None
        if kind != "XYZ":
            assert source.info.credit == "Survey of A"


@pytest.mark.slow
def test_restore_seed_and_info_take_a_service(
    ours: tuple[str, Source], tmp_path: Path, tiny_weights: Path
) -> None:
    url, direct = ours
    bounds = ",".join(map(repr, direct.info.bounds_lonlat))
    name = f"WMTS:{url}/old/WMTSCapabilities.xml"
    chosen = ("--source-pixel-size", "0.6", "--source-bounds", bounds, "--weights", tiny_weights)
    found = call("info", name, *chosen, "--json", "--no-estimate")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["credit"] == "Survey of A"
    done = call("restore", name, tmp_path / "x.tif", *chosen, "--runtime", "openvino")
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "x.tif") as made:
        assert made.tags()["CREDIT"] == "Survey of A"
        assert made.read(4 if made.count == 4 else 1).any()
    done = call("seed", name, tmp_path / "x.mbtiles", *chosen, "--runtime", "openvino")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "x.mbtiles").stat().st_size > 0


def test_a_service_stands_alone(service: FakeService, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path / "a.tif", 0, 0, GREEN)
    refused(call("info", sheet, f"{service.url}/{{z}}/{{x}}/{{y}}.png"), "name it alone")
