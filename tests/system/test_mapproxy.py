"""The configuration of MapProxy in docs/clients.md, run by the real MapProxy, and what --outside spares others.

MapProxy has requirements of its own: `make test-clients` installs it into .venv-bench.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
from conftest import free_port, running_server
from nginx_proxy import is_open
from PIL import Image

ROOT = Path(__file__).parents[2]
MAPPROXY = shutil.which(
    "mapproxy-util", path=f"{ROOT / '.venv-bench/bin'}{os.pathsep}{os.environ.get('PATH', '')}"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MAPPROXY is None, reason="make .venv-bench/.stamp-mapproxy"),
]
COVERAGE = re.compile(r"    coverage:\n      bbox: .*\n      srs: .*\n")
ON_ERROR = re.compile(r"    on_error:\n(?:      .*\n)+")


def configuration(server: str) -> str:
    """The text of the document, with the server and the bounds of the test."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    bounds = httpx.get(f"{server}/tilejson.json", timeout=60).json()["bounds"]
    text, count = re.subn(r"bbox: \[.*\]", f"bbox: {bounds}", text)
    assert count == 1
    assert "http://localhost:8000" in text
    return text.replace("http://localhost:8000", server)


@contextmanager
def mapproxy(text: str, folder: Path) -> Iterator[str]:
    assert MAPPROXY is not None
    (folder / "mapproxy.yaml").write_text(text)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [MAPPROXY, "serve-develop", str(folder / "mapproxy.yaml"), "-b", f"127.0.0.1:{port}"]
    with (folder / "mapproxy.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not is_open(port):
            assert process.poll() is None, (folder / "mapproxy.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def picture(proxy: str, server: str) -> httpx.Response:
    """The ground of nine tiles around the middle of the photograph, and beyond it."""
    lon, lat, zoom = httpx.get(f"{server}/tilejson.json", timeout=60).json()["center"]
    tile = mercantile.parent(mercantile.tile(lon, lat, int(zoom)), zoom=int(zoom) - 2)
    left, bottom, right, top = mercantile.xy_bounds(tile)
    size = right - left
    bounds = f"{left - size},{bottom - size},{right + size},{top + size}"
    query = "SERVICE=WMS&VERSION=1.1.1&REQUEST=GetMap&LAYERS=restored&STYLES=&SRS=EPSG:3857"
    url = f"{proxy}/service?{query}&BBOX={bounds}&WIDTH=768&HEIGHT=768&FORMAT=image/png&TRANSPARENT=TRUE"
    return httpx.get(url, timeout=200)


@pytest.mark.parametrize("outside", ["404", "transparent"])
def test_the_configuration_of_the_document(
    photo: Path, tiny_weights: Path, tmp_path: Path, outside: str
) -> None:
    with running_server(photo, "--weights", tiny_weights, "--outside", outside) as server:
        with mapproxy(configuration(server.url), tmp_path) as proxy:
            answer = picture(proxy, server.url)
        assert answer.headers["content-type"] == "image/png", answer.text
        seen = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
        assert 0.02 < (seen[..., 3] > 0).mean() < 0.9, "the photograph, and nothing beside it"


@pytest.mark.parametrize(("outside", "media_type"), [("404", "xml"), ("204", "xml"), ("transparent", "png")])
def test_without_coverage_only_transparent_tiles_do(
    photo: Path, tiny_weights: Path, tmp_path: Path, outside: str, media_type: str
) -> None:
    with running_server(photo, "--weights", tiny_weights, "--outside", outside) as server:
        text = ON_ERROR.sub("", COVERAGE.sub("", configuration(server.url)))
        assert "coverage" not in text
        with mapproxy(text, tmp_path) as proxy:
            answer = picture(proxy, server.url)
    assert media_type in answer.headers["content-type"], answer.text
