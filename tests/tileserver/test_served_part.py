"""Bounds and zooms of a map: tiles outside are not served, tiles inside are the same as without limits."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import mercantile
import pytest
from conftest import middle_tile
from PIL import Image
from starlette.testclient import TestClient

from tileserver.errors import SettingsError
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.tiling.grid import BBox, TileAddress
from tileserver.web.app import create_app

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"
NAMES = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}


def inside(tile: TileAddress) -> tuple[float, float, float, float]:
    """Return bounds in degrees that cover most of a tile."""
    box = mercantile.bounds(tile.x, tile.y, tile.z)
    width, height = (box.east - box.west) / 10, (box.north - box.south) / 10
    return box.west + width, box.south + height, box.east - width, box.north - height


def url(tile: TileAddress, layer: str = "old", tms: str = MERCATOR) -> str:
    return f"/{layer}/tiles/{tms}/{tile.z}/{tile.x}/{tile.y}.png"


@pytest.fixture
def part(make_service: MakeService) -> tuple[TestClient, TileAddress, TileService]:
    """A server of one tile's ground, native zoom and the two below it; that tile; the whole photograph's service."""
    whole = make_service()
    tile = middle_tile(whole)
    service = make_service(bounds=inside(tile), zooms=(tile.z - 2, tile.z), outside="404")
    return TestClient(create_app(service.settings, service)), tile, whole


def test_only_tiles_of_the_part_are_served(part: tuple[TestClient, TileAddress, TileService]) -> None:
    client, tile, whole = part
    above = TileAddress(tile.z - 2, tile.x // 4, tile.y // 4)
    for one in (tile, above):
        for _ in ("cold", "warm"):
            answer = client.get(url(one))
            assert answer.status_code == 200
        assert answer.content == whole.tile(TileRequest("old", MERCATOR, one, "png")).body
    for wrong in (
        TileAddress(tile.z, tile.x + 1, tile.y),
        TileAddress(tile.z, tile.x, tile.y - 1),
        TileAddress(tile.z + 1, 2 * tile.x, 2 * tile.y),
        TileAddress(tile.z - 3, tile.x // 8, tile.y // 8),
    ):
        assert client.get(url(wrong)).status_code == 404
        assert client.get(url(wrong, "restored")).status_code == 404


def test_documents_name_the_part(part: tuple[TestClient, TileAddress, TileService]) -> None:
    client, tile, _ = part
    document = client.get("/tilejson.json").json()
    assert document["bounds"] == pytest.approx(inside(tile))
    assert (document["minzoom"], document["maxzoom"]) == (tile.z - 2, tile.z)
    assert document["minzoom"] <= document["center"][2] <= document["maxzoom"]
    page = client.get("/config.json").json()
    assert page["bounds"] == document["bounds"]
    assert (page["minzoom"], page["maxzoom"]) == (tile.z - 2, tile.z)
    limits = client.get(f"/old/tiles/{MERCATOR}").json()["tileMatrixSetLimits"]
    assert [int(one["tileMatrix"]) for one in limits] == [tile.z - 2, tile.z - 1, tile.z]
    assert (limits[-1]["minTileCol"], limits[-1]["maxTileCol"]) == (tile.x, tile.x)


def test_wmts_names_the_part(part: tuple[TestClient, TileAddress, TileService]) -> None:
    client, tile, _ = part
    root = ET.fromstring(client.get("/old/WMTSCapabilities.xml").content)
    corner = root.findtext(".//ows:WGS84BoundingBox/ows:LowerCorner", namespaces=NAMES) or ""
    assert [float(word) for word in corner.split()] == pytest.approx(inside(tile)[:2])
    link = next(
        one
        for one in root.findall(".//w:TileMatrixSetLink", NAMES)
        if one.findtext("w:TileMatrixSet", namespaces=NAMES) == MERCATOR
    )
    last = link.findall(".//w:TileMatrixLimits", NAMES)[-1]
    assert [element.text for element in last] == [str(n) for n in (tile.z, tile.y, tile.y, tile.x, tile.x)]
    matrices = root.findall("w:Contents/w:TileMatrixSet[1]/w:TileMatrix/ows:Identifier", NAMES)
    assert [element.text for element in matrices] == [str(tile.z - 2), str(tile.z - 1), str(tile.z)]


def test_images_of_any_size_stay_within_the_part(
    part: tuple[TestClient, TileAddress, TileService],
) -> None:
    client, tile, whole = part
    west, south, east, north = inside(tile)
    assert client.get(f"/old/point/{(west + east) / 2},{(south + north) / 2}").status_code == 200
    assert client.get(f"/old/point/{2 * east - west},{(south + north) / 2}").status_code == 404
    beside = f"{2 * east - west},{south},{3 * east - 2 * west},{north}"
    assert client.get(f"/old/bbox/{beside}.png").status_code == 404
    around = f"{2 * west - east},{south},{2 * east - west},{north}"
    picture = Image.open(io.BytesIO(client.get(f"/old/bbox/{around}/90x30.png").content)).convert("RGBA")
    assert [picture.getpixel((x, 15))[3] for x in (5, 45, 85)] == [0, 255, 0]  # type: ignore[index]
    full = TestClient(create_app(whole.settings, whole))
    sizes = [
        Image.open(io.BytesIO(one.get("/old/preview.png?max_size=2048").content)).size
        for one in (client, full)
    ]
    assert sizes[0][0] < sizes[1][0] / 2


def test_tiles_cached_by_another_map_do_not_leak(photo: Path, tiny_weights: Path) -> None:
    settings = Settings(source=str(photo), weights=tiny_weights, runtime="openvino")
    shared = Shared(settings)
    whole = TileService(settings, shared)
    tile = middle_tile(whole)
    narrow = TileService(settings.model_copy(update={"bounds": BBox(*inside(tile))}), shared)
    assert narrow.content == whole.content, "limits decide no pixels"
    beside = TileRequest("old", MERCATOR, TileAddress(tile.z, tile.x + 1, tile.y), "png")
    whole.tile(beside)
    assert whole.cached(beside) is not None
    assert narrow.cached(beside) is None
    for service in (whole, narrow):
        service.close()
    shared.close()


def test_zooms_of_other_sets_are_those_of_the_same_ground(make_service: MakeService) -> None:
    whole = make_service()
    mercator = middle_tile(whole)
    service = make_service(zooms=(mercator.z - 1, mercator.z))
    geographic = service.rasters.view("old", "WGS1984Quad").pyramid
    assert (geographic.min_zoom, geographic.max_zoom) == (
        geographic.native_zoom - 1,
        geographic.native_zoom,
    )


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"bounds": (10.0, 10.0, 11.0, 11.0)}, "do not intersect the photograph"),
        ({"zooms": (10, 25)}, "reaches zoom 21"),
    ],
)
def test_limits_that_leave_nothing_are_refused(
    make_service: MakeService, limits: dict[str, object], word: str
) -> None:
    with pytest.raises(SettingsError, match=word):
        make_service(**limits)


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOSHARP_BOUNDS", "-73.55,42.38,-73.52,42.40")
    monkeypatch.setenv("ORTHOSHARP_ZOOMS", "12,19")
    settings = Settings(source="a.tif")
    assert settings.limits.bounds == (-73.55, 42.38, -73.52, 42.40)
    assert settings.limits.zooms == (12, 19)
    for wrong in ({"bounds": (1, 2, 0, 3)}, {"bounds": (0, -95, 1, 3)}, {"zooms": (5, 4)}):
        with pytest.raises(ValueError, match=r"WEST|FIRST"):
            Settings(source="a.tif", **wrong)  # type: ignore[arg-type]
