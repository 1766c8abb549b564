"""deploy/nginx/compose.conf, run by the real nginx as a cache in front of a real server that is restarted."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from nginx_proxy import NGINX, Answer, Proxy, configuration, maps_on, running_nginx

from tileserver.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="Debian: apt-get install nginx-light"),
]
MADE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Cached:
    """nginx, and what it takes to start the server behind it."""

    proxy: Proxy
    folder: Path
    upstream: int
    settings: Settings

    @contextmanager
    def server(self) -> Iterator[str]:
        """Run the server; yields the path of a tile."""
        listener = socket.create_server(("127.0.0.1", self.upstream))
        with listener, maps_on(listener, {"town": self.settings}) as tiles:
            yield f"/{tiles['town']}"

    def tile_requests(self) -> float:
        """Return how many tiles the server has answered, in whatever way."""
        lines = httpx.get(f"http://127.0.0.1:{self.upstream}/metrics").text.splitlines()
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith('orthosharp_requests_total{layer="restored"')
        )


@pytest.fixture
def cached(photo: Path, tiny_weights: Path, tmp_path: Path) -> Iterator[Cached]:
    port, upstream = free_port(), free_port()
    # Without a cache of its own the server has to make each tile that it is asked for; tiles expire at once.
    settings = Settings(
        source=str(photo),
        weights=tiny_weights,
        runtime="openvino",
        max_age_s=1,
        cache_bytes=0,
        max_requests=1,
    )
    text = configuration(
        "compose.conf",
        tmp_path,
        (
            (r"server orthosharp:8000;", f"server 127.0.0.1:{upstream};"),
            (r"listen 80;", f"listen 127.0.0.1:{port};"),
            # What the server said of the id that it was given.
            (
                r"(proxy_hide_header X-Request-ID;)",
                r"\1 add_header X-Server-ID $upstream_http_x_request_id always;",
            ),
        ),
    )
    with running_nginx(tmp_path, port, text.replace("access_log off;", "")):
        yield Cached(Proxy(port, {}), tmp_path, upstream, settings)


@contextmanager
def busy(port: int) -> Iterator[None]:
    """Take the one place that the server has, with a request whose body does not come to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            b"POST /old/feature.png HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        await_status(lambda: httpx.get(f"http://127.0.0.1:{port}/tilejson.json").status_code, 503)
        yield
    await_status(lambda: httpx.get(f"http://127.0.0.1:{port}/tilejson.json").status_code, 200)


def await_status(ask: Callable[[], int], status: int) -> None:
    deadline = time.monotonic() + 30
    while ask() != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def expired(cached: Cached, path: str) -> None:
    """Fill the cache with a tile, and wait until it is outdated."""
    assert cached.proxy.get(path).status == 200
    time.sleep(2.5)


def seen(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.headers.get("x-cache", "")


def test_a_second_request_never_reaches_the_server(cached: Cached) -> None:
    cached = replace(cached, settings=cached.settings.model_copy(update={"max_age_s": 600}))
    with cached.server() as path:
        assert seen(cached.proxy.get(path)) == (200, "MISS")
        assert cached.tile_requests() == 1
        assert {seen(cached.proxy.get(path)) for _ in range(20)} == {(200, "HIT")}
        assert cached.tile_requests() == 1


def test_503_is_not_cached_and_an_outdated_tile_stands_in_for_it(cached: Cached) -> None:
    with cached.server() as path:
        first, other = path, path.replace(".png", ".webp")
        expired(cached, first)
        with busy(cached.upstream):
            assert seen(cached.proxy.get(first)) == (200, "STALE")
            for _ in range(2):
                refused = cached.proxy.get(other)
                assert refused.status == 503
                assert refused.headers["retry-after"]
                assert refused.headers["cache-control"] == "no-store"
        assert seen(cached.proxy.get(other)) == (200, "MISS")


def test_outdated_tiles_are_served_while_the_server_restarts(cached: Cached) -> None:
    with cached.server() as path:
        tile = cached.proxy.get(path)
        expired(cached, path)
    assert not listens(cached.upstream)
    started = time.monotonic()
    stale = cached.proxy.get(path)
    assert seen(stale) == (200, "STALE")
    assert stale.body == tile.body
    assert cached.proxy.get(path.replace(".png", ".webp")).status == 502
    assert time.monotonic() - started < 5
    with cached.server():
        again = cached.proxy.get(path)
        assert seen(again)[0] == 200
        assert again.headers["x-cache"] in ("REVALIDATED", "EXPIRED")
        assert again.body == tile.body


def test_one_id_names_a_request_in_the_answer_and_in_both_servers(cached: Cached) -> None:
    with cached.server() as path:
        passed = cached.proxy.get("/nothing", **{"X-Request-ID": "visit-9"})
        assert (passed.status, passed.headers["x-request-id"]) == (404, "visit-9")
        assert passed.headers["x-server-id"] == "visit-9"
        filled = cached.proxy.get(path, **{"X-Request-ID": "fills-the-cache"})
        hit = cached.proxy.get(path)
        assert filled.headers["x-request-id"] == "fills-the-cache"
        assert MADE.fullmatch(hit.headers["x-request-id"])
        malformed = cached.proxy.get(path, **{"X-Request-ID": 'a"b<c>'})
        assert MADE.fullmatch(malformed.headers["x-request-id"])
        made = cached.proxy.get("/nothing")
        assert MADE.fullmatch(made.headers["x-request-id"])
        assert made.headers["x-server-id"] == made.headers["x-request-id"]
    lines = [json.loads(line) for line in (cached.folder / "access.log").read_text().splitlines()]
    assert [line["request_id"] for line in lines] == [
        "visit-9",
        "fills-the-cache",
        hit.headers["x-request-id"],
        malformed.headers["x-request-id"],
        made.headers["x-request-id"],
    ]
    assert (lines[2]["status"], lines[2]["cache"], lines[2]["path"]) == (200, "HIT", path)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
