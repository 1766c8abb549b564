"""The real QGIS, without a window, opens the files that the server offers for it, and draws its tiles."""

from __future__ import annotations

import io
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import mercantile
import numpy as np
import pytest
from conftest import running_server
from PIL import Image

# The Python that Debian's python3-qgis is installed for.
PYTHON = "/usr/bin/python3"


def has_qgis() -> bool:
    command = [PYTHON, "-c", "import qgis.core"]
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_qgis(), reason="Debian: apt-get install python3-qgis"),
]


@pytest.fixture(scope="module")
def server(photo: Path, tiny_weights: Path) -> Iterator[str]:
    with running_server(photo, "--weights", tiny_weights) as running:
        yield running.url


def drawn(source: Path | str, tile: mercantile.Tile, folder: Path) -> tuple[np.ndarray, list[ET.Element]]:
    """The ground of a tile as QGIS draws it from a file or a service, and what it says of the layers."""
    picture = folder / "drawn.png"
    bounds = [str(number) for number in mercantile.xy_bounds(tile)]
    command = [PYTHON, str(Path(__file__).with_name("read_in_qgis.py")), str(source), *bounds, str(picture)]
    environment = {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "QT_QPA_PLATFORM": "offscreen",
        "LANG": "C.UTF-8",
    }
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=folder
    )
    assert picture.exists(), result.stderr
    # QGIS may crash on its way out, after all is said.
    layers = [line for line in result.stdout.splitlines() if line.startswith("<report")]
    assert layers, result.stderr
    return np.asarray(Image.open(picture).convert("RGB"), np.int16), list(ET.fromstring(layers[-1]))


def expected(server: str, layer: str, tile: mercantile.Tile) -> np.ndarray:
    path = f"{layer}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    answer = httpx.get(f"{server}/{path}", timeout=120).raise_for_status()
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)


@pytest.mark.parametrize(
    "address", ["WMTSCapabilities.xml", "wmts?SERVICE=WMTS&REQUEST=GetCapabilities", "wms"]
)
def test_qgis_draws_services(server: str, tmp_path: Path, address: str) -> None:
    """As its dialogs write them: WMTS by addresses and by key-value pairs, and WMS."""
    lon, lat, zoom = httpx.get(f"{server}/tilejson.json", timeout=60).json()["center"]
    tile = mercantile.tile(lon, lat, int(zoom))
    source = f"crs=EPSG:3857&dpiMode=7&format=image/png&layers=restored&styles=default&url={server}/"
    source += address if address == "wms" else quote(address, safe="")
    if address != "wms":
        source += "&tileMatrixSet=WebMercatorQuad"
    seen, (layer,) = drawn(source, tile, tmp_path)
    assert np.abs(seen - expected(server, "restored", tile)).mean() < 2
    assert layer.get("crs") == "EPSG:3857"


@pytest.mark.parametrize("name", ["restored/layer.qlr", "old/layer.qlr", "project.qgs"])
def test_qgis_opens_the_file_and_draws_the_tile(server: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / Path(name).name
    file.write_bytes(httpx.get(f"{server}/{name}", timeout=60).raise_for_status().content)
    document = httpx.get(f"{server}/tilejson.json", timeout=60).json()
    lon, lat, _ = document["center"]
    layer = name.split("/")[0] if "/" in name else "restored"
    # One of the last zoom, at which QGIS's own default of 18 would be blurred.
    for zoom in (document["maxzoom"] - 1, document["maxzoom"]):
        tile = mercantile.tile(lon, lat, zoom)
        seen, layers = drawn(file, tile, tmp_path)
        assert np.abs(seen - expected(server, layer, tile)).mean() < 2
    assert {one.get("crs") for one in layers} == {"EPSG:3857"}
    assert len(layers) == (1 if "/" in name else 3)
    for one in layers:
        assert f"zmax={document['maxzoom']}" in one.get("source", "")
        assert "Test Survey" in one.get("attribution", "") + one.get("rights", "")
