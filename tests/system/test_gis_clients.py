"""GDAL, as other programs use it, reads what the server offers, from a real server on this machine."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
import rasterio
from conftest import running_server
from PIL import Image

GDAL = shutil.which("gdal_translate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GDAL is None, reason="Debian: apt-get install gdal-bin"),
]


@pytest.fixture(scope="module")
def server(photo: Path, tiny_weights: Path) -> Iterator[str]:
    with running_server(photo, "--weights", tiny_weights) as running:
        yield running.url


@pytest.fixture(scope="module")
def tile(server: str) -> mercantile.Tile:
    """A tile of the native zoom in the middle of the photograph."""
    lon, lat, zoom = httpx.get(f"{server}/tilejson.json", timeout=120).json()["center"]
    return mercantile.tile(lon, lat, int(zoom))


def expected(server: str, tile: mercantile.Tile, layer: str = "restored") -> np.ndarray:
    path = f"{layer}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    answer = httpx.get(f"{server}/{path}", timeout=120).raise_for_status()
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)


def read_by_gdal(source: str, tile: mercantile.Tile, folder: Path, *, in_degrees: bool = False) -> np.ndarray:
    """The ground of a tile as 256 x 256 px, by gdal_translate."""
    left, bottom, right, top = mercantile.bounds(tile) if in_degrees else mercantile.xy_bounds(tile)
    window = ["-projwin", *map(repr, (left, top, right, bottom)), "-outsize", "256", "256"]
    command = [GDAL, "-q", "-r", "near", *window, source, str(folder / "read.tif")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "ERROR" not in result.stderr
    with rasterio.open(folder / "read.tif") as dataset:
        return np.moveaxis(dataset.read((1, 2, 3)), 0, 2).astype(np.int16)


@pytest.mark.parametrize(
    "address", ["restored/WMTSCapabilities.xml", "?SERVICE=WMTS&REQUEST=GetCapabilities", "wmts?SERVICE=WMTS"]
)
def test_wmts(server: str, tile: mercantile.Tile, tmp_path: Path, address: str) -> None:
    if address.startswith("wmts"):
        address += "&REQUEST=GetCapabilities"
    source = f"WMTS:{server}/{address},layer=restored,tilematrixset=WebMercatorQuad"
    assert np.abs(read_by_gdal(source, tile, tmp_path) - expected(server, tile)).max() == 0


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
def test_wms(server: str, tile: mercantile.Tile, tmp_path: Path, version: str) -> None:
    """Found by its capabilities, as a user of GDAL finds it."""
    address = f"WMS:{server}/?SERVICE=WMS&VERSION={version}&REQUEST=GetCapabilities"
    listed = subprocess.run(
        ["gdalinfo", address], capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path
    )
    sources = re.findall(r"SUBDATASET_\d+_NAME=(.*)", listed.stdout)
    assert len(sources) == 3
    (source,) = [one for one in sources if "LAYERS=restored" in one]
    # GDAL 3.6 takes Web Mercator of one version, degrees of the other; its pixels are not those of the tile.
    seen = read_by_gdal(source, tile, tmp_path, in_degrees="EPSG:3857" not in source)
    assert np.abs(seen - expected(server, tile)).mean() < 4
