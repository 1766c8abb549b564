"""nginx with a configuration of deploy/nginx, in front of a real server."""

from __future__ import annotations

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

import uvicorn
from conftest import middle_tile

from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.connections import ConnectionLimits, bounded_protocol
from tileserver.web.forwarded import ForwardedAddress
from tileserver.web.maps import ReloadableMaps, open_generation
from tileserver.web.request_id import with_request_ids

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "nginx"
AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {configuration}
}}
"""


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


def configuration(name: str, folder: Path, changes: tuple[tuple[str, str], ...]) -> str:
    """The text of a file of deploy/nginx, with paths and ports of the test.

    Args:
        name: of the file; those that it includes are copied.
        folder: of the test.
        changes: patterns and replacements, each of which must be found in one of the files.
    """
    included = folder / "orthosharp"
    shutil.copytree(CONFIGURATIONS, included, dirs_exist_ok=True)
    found = set()
    changes = (
        (r"/var/cache/nginx/orthosharp", f"{folder}/cache"),
        (r"/var/log/nginx/access.log", f"{folder}/access.log"),
        *changes,
    )
    for path in included.iterdir():
        text = path.read_text(encoding="utf-8")
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text)
            found |= {pattern} if count else set()
        path.write_text(text, encoding="utf-8")
    assert found == {pattern for pattern, _ in changes}
    return AROUND.format(folder=folder, configuration=(included / name).read_text(encoding="utf-8"))


@contextmanager
def maps_on(listener: socket.socket, maps: dict[str, Settings]) -> Iterator[dict[str, str]]:
    """Serve maps as `orthosharp serve` does; yields the path of a tile of each."""
    first = next(iter(maps.values()))
    shared, admission = Shared(first), Admission(first)
    generation = open_generation(maps, shared, admission)
    application = ReloadableMaps(generation, shared, admission, lambda: generation)
    protocol = bounded_protocol(ConnectionLimits(100, 100))
    addressed = with_request_ids(ForwardedAddress(application, root_path=first.root_path))
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


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
