"""A real server in a process of its own, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Server, middle_tile, running_server

from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress


@pytest.fixture(scope="module")
def server(photo: Path, tiny_weights: Path) -> Iterator[Server]:
    with running_server(
        photo, "--weights", tiny_weights, "--runtime", "openvino", "--credit", "Someone"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def twin(photo: Path, tiny_weights: Path) -> Iterator[TileService]:
    """A service with the same settings in this process."""
    service = TileService(Settings(source=str(photo), weights=tiny_weights, runtime="openvino"))
    yield service
    service.close()


def inferences(server: Server) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("orthosharp_inferences_total ")))


def test_banner_says_what_to_paste(server: Server) -> None:
    for layer in ("restored", "old", "difference"):
        assert f"{server.url}/{layer}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.webp" in server.banner
    assert "tiny" in server.banner


def test_64_clients_on_4_metatiles_cost_4_inferences(server: Server, twin: TileService) -> None:
    pyramid = twin.rasters.view("restored", "WebMercatorQuad").pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    # The four metatiles around the corner that is nearest the middle of the photograph.
    column = round((extent.x + extent.width / 2) / 1024) * 4
    row = round((extent.y + extent.height / 2) / 1024) * 4
    tiles = [
        TileAddress(pyramid.native_zoom, column + i, row + j) for i in range(-4, 4) for j in range(-4, 4)
    ]
    inside = [tile for tile in tiles if pyramid.touches(tile.z, tile.window)]
    assert len({(tile.x // 4, tile.y // 4) for tile in inside}) == 4
    urls = [f"{server.url}/tiles/{t.z}/{t.x}/{t.y}.webp" for t in (inside * 64)[:64]]
    before = inferences(server)
    with (
        httpx.Client(timeout=120, limits=httpx.Limits(max_connections=64)) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        answers = list(pool.map(client.get, urls))
    assert {answer.status_code for answer in answers} == {200}
    assert inferences(server) - before == 4


def test_two_processes_make_the_same_bytes(server: Server, twin: TileService) -> None:
    for offset in (1, 0, -1, -3):
        tile = middle_tile(twin, offset)
        for extension in ("webp", "png", "jpg"):
            theirs = httpx.get(f"{server.url}/tiles/{tile.z}/{tile.x}/{tile.y}.{extension}", timeout=60)
            ours = twin.tile(TileRequest("restored", "WebMercatorQuad", tile, extension))  # type: ignore[arg-type]
            assert theirs.content == ours.body
            assert theirs.headers["etag"] == ours.etag


def test_no_answer_names_a_local_path(server: Server, photo: Path) -> None:
    urls = (
        "/",
        "/config.json",
        "/tilejson.json",
        "/old/info",
        "/restored/WMTSCapabilities.xml",
        "/openapi.json",
    )
    urls += (
        "/tiles/1/0/0.png",
        "/tiles/19/0/0.png",
        "/nothing",
        "/old/tiles",
        "/metrics",
        "/readyz",
        "/viewer/",
    )
    for url in urls:
        answer = httpx.get(server.url + url, timeout=30)
        assert answer.status_code < 500, url
        assert str(photo.parent) not in answer.text, url
        assert str(Path.home()) not in answer.text, url
        for header in ("cache-control", "cache-status", "server-timing"):
            assert header in answer.headers, url
        assert ("etag" in answer.headers) == (answer.status_code == 200), url


def test_credit_of_the_command_line_wins(server: Server) -> None:
    assert httpx.get(f"{server.url}/config.json").json()["credit"] == "Someone"
