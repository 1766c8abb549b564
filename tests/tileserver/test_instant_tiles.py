"""Tiles in memory are answered by the protocol as the application answers them, and nothing else is."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Server, middle_tile, running_server
from starlette.testclient import TestClient

from tileserver.settings import Settings
from tileserver.web.app import create_app
from tileserver.web.instant_tiles import InstantTiles
from tileserver.web.maps import Generation

OWN = [(b"date", b"today")]


class Maps:
    """Applications over the tiny network, and the instant answers before them."""

    def __init__(self, apps: dict[str, TestClient]) -> None:
        self.clients = apps
        self.current = Generation({name: client.app for name, client in apps.items()}, next(iter(apps)))  # type: ignore[misc]
        self.instant = InstantTiles(lambda: self.current)

    def answer(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes] | None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        found = self.instant.answer(path.encode(), raw, OWN)
        if found is None:
            return None
        head, body = found
        first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        assert len({name for name, _ in pairs}) == len(pairs)
        return int(first.split()[1]), dict(pairs), body  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["*", "https://map.example"])
def maps(request: pytest.FixtureRequest, photo: Path, tiny_weights: Path) -> Iterator[Maps]:
    settings = Settings(
        source=str(photo),
        weights=tiny_weights,
        runtime="openvino",
        cors_origins=request.param,
        outside=("204",),
    )
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
        yield Maps({"one": one, "other": other})


def tile_path(maps: Maps, extension: str = "webp") -> str:
    tile = middle_tile(maps.clients["one"].app.state.service)  # type: ignore[attr-defined]
    return f"/tiles/{tile.z}/{tile.x}/{tile.y}.{extension}"


@pytest.mark.parametrize("extension", ["webp", "png", "jpg"])
@pytest.mark.parametrize("layer", ["", "/restored", "/old", "/difference"])
@pytest.mark.parametrize("origin", [None, "https://map.example", "https://else.example"])
def test_the_answer_is_that_of_the_application(
    maps: Maps, layer: str, extension: str, origin: str | None
) -> None:
    path = tile_path(maps, extension)
    if layer:
        path = f"{layer}{path.replace('/tiles/', '/tiles/WebMercatorQuad/')}"
    client, headers = maps.clients["one"], {"origin": origin} if origin else {}
    client.get(path)
    wanted = client.get(path, headers=headers)
    found = maps.answer(path, **headers)
    assert found is not None
    status, named, body = found
    assert re.fullmatch("[0-9a-f]{32}", named.pop("x-request-id"))
    assert named.pop("date") == "today"
    assert (status, named, body) == (200, dict(wanted.headers), wanted.content)
    # What the client has is not sent again.
    etag = wanted.headers["etag"]
    for match in (etag, f'"x", W/{etag}', "*"):
        again = client.get(path, headers={**headers, "if-none-match": match})
        found = maps.answer(path, if_none_match=match, **headers)
        assert found is not None
        status, named, body = found
        del named["x-request-id"], named["date"]
        assert (status, named, body) == (304, dict(again.headers), b"") == (again.status_code, named, b"")
    assert maps.answer(path, if_none_match='"other"', **headers)[0] == 200  # type: ignore[index]


def test_a_map_is_found_by_its_name(maps: Maps) -> None:
    path = tile_path(maps)
    assert maps.answer(f"/other{path}") is None  # it has caches of its own, and they are empty
    wanted = maps.clients["other"].get(path).content
    assert maps.answer(f"/other{path}")[2] == wanted  # type: ignore[index]


def test_what_is_not_a_tile_in_memory_is_left_to_the_application(maps: Maps) -> None:
    path = tile_path(maps)
    maps.clients["one"].get(path)
    assert maps.answer(path) is not None
    absent = re.sub(r"/(\d+)\.", lambda found: f"/{int(found[1]) + 1}.", path)
    for other in ("/", "/healthz", f"{path}?tilesize=512", f"/x{path}", f"{path}%20", "*", "/\xff", absent):
        assert maps.answer(other) is None, other
    for header in ("content_length", "transfer_encoding", "upgrade", "expect", "x_forwarded_prefix"):
        assert maps.answer(path, **{header: "1"}) is None, header


def test_a_well_formed_id_is_kept(maps: Maps) -> None:
    path = tile_path(maps)
    maps.clients["one"].get(path)
    assert maps.answer(path, x_request_id="a1-b2")[1]["x-request-id"] == "a1-b2"  # type: ignore[index]
    made = {maps.answer(path, x_request_id="a b\r\nset-cookie: c")[1]["x-request-id"] for _ in range(3)}  # type: ignore[index]
    assert len(made) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)


def test_new_maps_and_dropped_tiles_are_noticed(maps: Maps) -> None:
    path = tile_path(maps)
    client = maps.clients["one"]
    client.get(path)
    assert maps.answer(path) is not None
    service = client.app.state.service  # type: ignore[attr-defined]
    service.shared.tiles._memory._values.clear()
    assert maps.answer(path) is None
    client.get(path)
    before = maps.current
    maps.current = Generation({"other": maps.clients["other"].app}, "other")  # type: ignore[dict-item]
    other = maps.clients["other"].app.state.service  # type: ignore[attr-defined]
    other.shared.tiles._memory._values.clear()
    assert maps.answer(path) is None
    maps.current = before


def test_lookups_and_responses_are_counted_once(maps: Maps) -> None:
    path = tile_path(maps)
    maps.clients["one"].get(path)
    metrics = maps.clients["one"].app.state.service.metrics  # type: ignore[attr-defined]
    maps.instant = InstantTiles(lambda: maps.current)

    def counted() -> list[float]:
        text = metrics.exposition().decode()
        names = (
            r'orthosharp_requests_total{layer="restored",status="200"}',
            r'orthosharp_cache_lookups_total{cache="tile",result="hit"}',
        )
        return [float(re.search(rf"^{re.escape(name)} (.+)$", text, re.MULTILINE)[1]) for name in names]  # type: ignore[index]

    before = counted()
    for _ in range(5):
        assert maps.answer(path) is not None
    assert counted() == [value + 5 for value in before]


@pytest.fixture(scope="module")
def server(photo: Path, tiny_weights: Path) -> Iterator[Server]:
    with running_server(photo, "--weights", tiny_weights, "--runtime", "openvino") as running:
        yield running


def exchange(server: Server, *requests: str) -> bytes:
    """Send requests at once over one connection; the last one closes it."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall("".join(requests).encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def get(path: str, *headers: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""])


def test_answers_keep_the_order_of_requests(server: Server, make_service: Callable[..., object]) -> None:
    """Instant ones do not overtake those that the application still makes."""
    tile = middle_tile(make_service())  # type: ignore[arg-type]
    path = f"/tiles/{tile.z}/{tile.x}/{tile.y}.webp"
    exchange(server, get(path, "Connection: close"))
    asked = [path, "/healthz", path, path, "/tilejson.json", path]
    received = exchange(server, *map(get, asked), get("/nothing", "Connection: close"))
    heads = re.findall(rb"HTTP/1\.1 (\d+) .*?content-type: ([^\r]+)\r\n", received, re.DOTALL)
    kinds = [b"image/webp" if one == path else b"application/json" for one in asked]
    assert [kind for _, kind in heads[: len(asked)]] == kinds
    assert [int(status) for status, _ in heads] == [200] * len(asked) + [404]


def test_a_connection_closes_after_an_instant_answer_if_it_is_to(
    server: Server, make_service: Callable[..., object]
) -> None:
    tile = middle_tile(make_service())  # type: ignore[arg-type]
    path = f"/tiles/{tile.z}/{tile.x}/{tile.y}.webp"
    for _ in range(2):
        received = exchange(server, get(path), get(path, "Connection: close"))
        assert received.count(b"HTTP/1.1 200 OK") == 2
    assert exchange(server, f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").count(b"200 OK") == 1
    assert exchange(server, f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(
        b"\r\n\r\n"
    )
