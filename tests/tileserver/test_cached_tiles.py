"""Cached tiles are answered before routing, exactly as the routes would answer."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from conftest import middle_tile
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from tileserver.service import TileRequest, TileService
from tileserver.web.app import create_app
from tileserver.web.cached_tiles import CachedTiles, parse_tile_path
from tileserver.web.middleware import ResponsePolicy

MERCATOR = "WebMercatorQuad"


async def routing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand in for the application: answers 418, to show that it was called."""
    await send({"type": "http.response.start", "status": 418, "headers": []})


def ask(
    app: CachedTiles, path: str, method: str = "GET", root: str = "", query: bytes = b"", **headers: str
) -> list[Message]:
    """Return the messages that the application sends."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "headers": raw,
        "query_string": query,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(app, scope, receive, send)
    return sent


@pytest.fixture
def warm(make_service: Callable[..., TileService]) -> tuple[CachedTiles, str, bytes]:
    """CachedTiles over a service with one cached tile, the tile's path, and its bytes."""
    service = make_service()
    tile = middle_tile(service)
    body = service.tile(TileRequest("old", MERCATOR, tile, "webp")).body
    app = CachedTiles(routing, service, ResponsePolicy())
    return app, f"/old/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}", body


def test_cached_tiles_never_reach_the_routes(warm: tuple[CachedTiles, str, bytes]) -> None:
    app, path, body = warm
    for url, query in ((f"{path}.webp", b""), (f"{path}.webp", b"token=abc")):
        start, end = ask(app, url)
        assert (start["status"], end["body"]) == (200, body)
        start, _ = ask(app, url, query=query)
        assert start["status"] == 200
        start, *_ = ask(app, url, query=b"rescale=1,2")
        assert start["status"] == 418, "for the routes to obey, or to refuse"
        start, end = ask(app, url)
        headers = dict(start["headers"])
        assert headers[b"content-length"] == str(len(body)).encode()
        etag = headers[b"etag"].decode()
        start, end = ask(app, url, if_none_match=f'"other", W/{etag}')
        assert (start["status"], end["body"]) == (304, b"")
        assert b"content-length" not in dict(start["headers"])
        start, end = ask(app, url, "HEAD")
        assert (start["status"], end["body"]) == (200, b"")
        assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
    start, _ = ask(app, f"/maps{path}.webp", root="/maps")
    assert start["status"] == 200


def test_accept_decides_the_format_of_cached_tiles_without_extension(
    warm: tuple[CachedTiles, str, bytes],
) -> None:
    app, path, body = warm
    for accepted in ("", "*/*", "image/png;q=0.5,image/*"):
        start, end = ask(app, path, accept=accepted)
        assert (start["status"], end["body"]) == (200, body)
        assert (b"vary", b"Accept") in start["headers"]
        assert dict(start["headers"])[b"content-type"] == b"image/webp"
    etag = dict(start["headers"])[b"etag"].decode()
    start, end = ask(app, path, if_none_match=etag)
    assert (start["status"], end["body"]) == (304, b"")
    assert (b"vary", b"Accept") in start["headers"]
    # The tile in memory is in another format.
    assert ask(app, path, accept="image/png")[0]["status"] == 418


def test_all_else_is_passed_on(warm: tuple[CachedTiles, str, bytes]) -> None:
    app, path, _ = warm
    for url in (
        f"{path}@2x",
        f"{path}.png",
        f"{path}@2x.webp",
        f"{path}.gif",
        f"{path}/",
        "/",
        "/tiles/1/2/3",
        "/" + "a" * 999,
    ):
        assert ask(app, url)[0]["status"] == 418
    assert ask(app, path, "POST")[0]["status"] == 418


def test_a_warm_answer_has_every_header_of_a_cold_one(make_service: Callable[..., TileService]) -> None:
    service = make_service()
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    for layer in ("restored", "old"):
        url = f"/{layer}/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}"
        url += ".png" if layer == "old" else ""
        cold, warm = client.get(url), client.get(url)
        assert (cold.headers["cache-status"], warm.headers["cache-status"]) == (
            "orthosharp; fwd=miss",
            "orthosharp; hit",
        )
        assert cold.content == warm.content
        changing = ("cache-status", "server-timing")
        kept = [{k: v for k, v in answer.headers.items() if k not in changing} for answer in (cold, warm)]
        assert kept[0] == kept[1]
    text = client.get("/metrics").text
    assert 'orthosharp_requests_total{layer="old",status="200"} 2.0' in text
    assert 'orthosharp_cache_lookups_total{cache="tile",result="hit"} 2.0' in text


@pytest.mark.parametrize(
    "path",
    [
        "/tiles/٣/1/1.png",
        "/tiles/1/1/1.png\n",
        "/tiles/1/1/1@3x.png",
        "//tiles/1/1/1.png",
        "/tiles/-1/1/1.png",
    ],
)
def test_unusual_paths_are_left_to_the_routes(path: str) -> None:
    assert parse_tile_path(path) is None


def test_only_named_origins_may_read_the_tiles(make_service: Callable[..., TileService]) -> None:
    service = make_service(cors_origins="https://map.example,http://localhost:3000")
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    url = f"/old/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}.png"
    for _ in ("cold", "warm"):
        friend = client.get(url, headers={"Origin": "https://map.example"})
        assert friend.headers["access-control-allow-origin"] == "https://map.example"
        assert friend.headers["vary"] == "Origin"
        foreign = client.get(url, headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in foreign.headers
        assert foreign.headers["vary"] == "Origin"
    with pytest.raises(ValueError, match="not an origin"):
        make_service(cors_origins="https://map.example/path")
