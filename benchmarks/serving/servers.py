"""The server under test and those it is compared with, each in a process of its own on a free local port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 180

NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; daemon off;
events {{}}
http {{
  access_log off; sendfile on; types {{ image/webp webp; }}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""

MAPPROXY = """
services: {{tms: {{use_grid_names: true, origin: nw}}}}
layers: [{{name: restored, title: restored, sources: [tiles]}}]
caches: {{tiles: {{grids: [GLOBAL_WEBMERCATOR], sources: [ours], format: image/webp, cache: {{type: file}}}}}}
sources: {{ours: {{type: tile, grid: GLOBAL_WEBMERCATOR, url: "{url}/tiles/%(z)s/%(x)s/%(y)s.webp"}}}}
globals: {{cache: {{base_dir: {folder}/cache, lock_dir: {folder}/locks}}}}
"""


@dataclass(frozen=True)
class Running:
    """A server that answers requests."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a free local port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, probe: str, **environment: str) -> Iterator[Running]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(url + probe):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start: run it by hand: {' '.join(command)}")
            time.sleep(0.1)
        yield Running(process, url)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status < 400)
    except urllib.error.HTTPError as error:
        return error.code == 404  # it runs, and has nothing at this path
    except OSError:
        return False


@contextmanager
def orthosharp(photo: Path, *options: str, **environment: str) -> Iterator[Running]:
    """Run orthosharp with default settings, except for those in `environment`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tileserver.cli.main",
        "serve",
        str(photo),
        "--port",
        str(port),
        *options,
    ]
    with _running(command, port, "/readyz", **environment) as server:
        yield server


@contextmanager
def titiler(python: Path, photo: Path) -> Iterator[Running]:
    """Run titiler's own application in one process."""
    port = free_port()
    command = [str(python), "-m", "uvicorn", "titiler.application.main:app", "--port", str(port)]
    with _running([*command, "--log-level", "warning"], port, f"/cog/info?url={photo}") as server:
        yield server


@contextmanager
def nginx(folder: Path) -> Iterator[Running]:
    """Run nginx with one worker on the files of a folder."""
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with _running([binary, "-c", str(configuration)], port, "/tile.webp") as server:
        yield server


@contextmanager
def mapproxy(python: Path, folder: Path, ours: str) -> Iterator[Running]:
    """Run MapProxy under gunicorn in one process; its file cache is filled from `ours`, the URL of orthosharp."""
    port = free_port()
    configuration = folder / "mapproxy.yaml"
    configuration.write_text(MAPPROXY.format(folder=folder, url=ours))
    application = f"mapproxy.wsgiapp:make_wsgi_app('{configuration}')"
    command = [str(python), "-m", "gunicorn", "--workers", "1", "--threads", "8", "--worker-class", "gthread"]
    with _running([*command, "--bind", f"127.0.0.1:{port}", application], port, "/") as server:
        yield server
