"""The nginx configuration in docs/operations.md, run by the real nginx in front of a real server with two maps."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from conftest import free_port, middle_tile

from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.connections import ConnectionLimits, bounded_protocol
from tileserver.web.forwarded import ForwardedAddress
from tileserver.web.maps import ReloadableMaps, open_generation

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="Debian: apt-get install nginx-light"),
]

ROOT = Path(__file__).parents[2]
AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {configuration}
}}
"""
PASSWORD = "Basic " + base64.b64encode(b"anna:correct horse").decode()
TOKEN = "choose-a-long-token"


@dataclass(frozen=True)
class Answer:
    """Status, headers with names in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Proxy:
    """nginx, and the path of a tile of each map behind its name."""

    port: int
    tiles: dict[str, str]

    def get(self, path: str, **headers: str) -> Answer:
        """Request a path exactly as it is written; HTTP libraries would tidy it up."""
        lines = [f"GET {path} HTTP/1.0", "Host: maps.example", *(f"{k}: {v}" for k, v in headers.items())]
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            received = b""
            while part := connection.recv(2**16):
                received += part
        head, _, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        named = (line.split(": ", 1) for line in rest)
        return Answer(int(first.split()[1]), {name.lower(): value for name, value in named}, body)


def configuration(folder: Path, port: int, upstream: int) -> str:
    """The text of the document, with paths and ports of the test."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    changed = found[0]
    for pattern, replacement in (
        (r"/var/cache/nginx/orthosharp", f"{folder}/cache"),
        (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{upstream};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        (r" *ssl_certificate\w* .*\n", ""),
        (r"/etc/nginx/orthosharp.htpasswd", f"{folder}/htpasswd"),
        (r"allow 127\.0\.0\.1;", ""),
    ):
        changed, count = re.subn(pattern, replacement, changed)
        assert count, pattern
    return AROUND.format(folder=folder, configuration=changed)


@contextmanager
def maps_on(listener: socket.socket, maps: dict[str, Settings]) -> Iterator[dict[str, str]]:
    """Serve maps as `orthosharp serve` does; yields the path of a tile of each."""
    shared, admission = Shared(maps["y1998"]), Admission(maps["y1998"])
    generation = open_generation(maps, shared, admission)
    application = ReloadableMaps(generation, shared, admission, lambda: generation)
    protocol = bounded_protocol(ConnectionLimits(100, 100))
    addressed = ForwardedAddress(application, root_path=maps["y1998"].root_path)
    config = uvicorn.Config(addressed, http=protocol, ws="none", log_level="error", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        tiles = zip(maps, map(middle_tile, generation.services), strict=True)
        yield {name: f"tiles/{tile.z}/{tile.x}/{tile.y}.png" for name, tile in tiles}
    finally:
        server.should_exit = True
        thread.join(60)


@contextmanager
def running_nginx(folder: Path, port: int, text: str) -> Iterator[None]:
    """Run nginx with a configuration, in a folder, until the block ends; it listens on the port."""
    assert NGINX is not None
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while not is_open(port):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def proxy(
    photo: Path, new_photo: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", name=name)
        for name, path in (("y1998", photo), ("y1975", new_photo))
    }
    (folder / "htpasswd").write_text("anna:{PLAIN}correct horse\n")
    with socket.create_server(("127.0.0.1", 0)) as listener, maps_on(listener, maps) as tiles:
        text = configuration(folder, port, listener.getsockname()[1])
        with running_nginx(folder, port, text):
            yield Proxy(port, tiles)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_public_maps_are_open_and_cached(proxy: Proxy) -> None:
    for path in (f"/{proxy.tiles['y1998']}", f"/y1998/{proxy.tiles['y1998']}"):
        first, second = proxy.get(path), proxy.get(path)
        assert (first.status, second.status) == (200, 200)
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert first.body == second.body
        assert first.headers["etag"] == second.headers["etag"]
        again = proxy.get(path, **{"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    for path in ("/", "/tilejson.json", "/y1998/config.json"):
        for _ in range(2):
            answer = proxy.get(path)
            assert (answer.status, answer.headers["x-cache"]) == (200, "MISS"), path


def test_a_private_map_asks_in_whatever_way_it_is_spelt(proxy: Proxy) -> None:
    tile = proxy.tiles["y1975"]
    for path in (
        "/y1975",
        "/y1975/",
        "/y1975/config.json",
        f"/y1975/{tile}",
        f"/y1975/{tile}?token=",
        f"/y1975/{tile}?token=off",
        f"/y1975/{tile}?x={TOKEN}",
        f"//y1975/{tile}",
        f"/./y1975/{tile}",
        f"/y1998/../y1975/{tile}",
        f"/%791975/{tile}",
        f"/y1975%2F{tile}",
        f"/y1998/..%2Fy1975/{tile}",
        f"/y1975//{tile}",
    ):
        answer = proxy.get(path)
        assert answer.status in (400, 401), path
        assert not answer.body.startswith(b"\x89PNG"), path
    # Spelt so that neither program takes it for the map.
    for path in (f"/%25791975/{tile}", f"/Y1975/{tile}", f"/y1975;/{tile}"):
        assert proxy.get(path).status == 404, path
    assert "basic" in proxy.get("/y1975/").headers["www-authenticate"].lower()


def test_a_password_or_a_token_opens_it_and_nothing_is_cached(proxy: Proxy) -> None:
    path = f"/y1975/{proxy.tiles['y1975']}"
    for _ in range(2):
        by_password = proxy.get(path, Authorization=PASSWORD)
        by_token = proxy.get(f"{path}?token={TOKEN}")
        for answer in (by_password, by_token):
            assert answer.status == 200
            assert answer.headers["cache-control"] == "private, max-age=600"
            assert "x-cache" not in answer.headers
        assert by_password.body == by_token.body
        assert proxy.get(path).status == 401, "seen by another, and still not for everyone"
    wrong = "Basic " + base64.b64encode(b"anna:wrong").decode()
    assert proxy.get(path, Authorization=wrong).status == 401
    assert (
        proxy.get("/y1975/config.json", Authorization=PASSWORD).headers["cache-control"]
        == "private, no-cache"
    )
    missing = proxy.get("/y1975/tiles/29/0/0.png", Authorization=PASSWORD)
    assert (missing.status, missing.headers["cache-control"]) == (404, "no-store")


def test_documents_have_the_address_of_the_proxy(proxy: Proxy) -> None:
    lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    for path in ("/tilejson.json", "/y1975/tilejson.json"):
        text = proxy.get(path, Authorization=PASSWORD, **lies).body.decode()
        assert "evil" not in text
        assert '"http://maps.example/' in text


def test_figures_are_not_for_visitors(proxy: Proxy) -> None:
    for name in ("", "/y1998", "/y1975"):
        assert proxy.get(f"{name}/metrics").status in (401, 403)
        assert proxy.get(f"{name}/readyz").status in (401, 403)
