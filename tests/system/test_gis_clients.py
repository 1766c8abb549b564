"""GDAL, as other programs use it, and OWSLib read what the server offers, from a real server on this machine."""

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
from owslib.ogcapi.maps import Maps
from PIL import Image

GDAL = shutil.which("gdal_translate")
pytestmark = pytest.mark.slow
needs_gdal = pytest.mark.skipif(GDAL is None, reason="Debian: apt-get install gdal-bin")


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


def read_by_gdal(
    source: str, tile: mercantile.Tile, folder: Path, *options: str, in_degrees: bool = False
) -> np.ndarray:
    """The ground of a tile as 256 x 256 px, by gdal_translate."""
    left, bottom, right, top = mercantile.bounds(tile) if in_degrees else mercantile.xy_bounds(tile)
    window = ["-projwin", *map(repr, (left, top, right, bottom)), "-outsize", "256", "256"]
    command = [GDAL, "-q", "-r", "near", *options, *window, source, str(folder / "read.tif")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "ERROR" not in result.stderr
    with rasterio.open(folder / "read.tif") as dataset:
        return np.moveaxis(dataset.read((1, 2, 3)), 0, 2).astype(np.int16)


@needs_gdal
@pytest.mark.parametrize(
    "address", ["restored/WMTSCapabilities.xml", "?SERVICE=WMTS&REQUEST=GetCapabilities", "wmts?SERVICE=WMTS"]
)
def test_wmts(server: str, tile: mercantile.Tile, tmp_path: Path, address: str) -> None:
    if address.startswith("wmts"):
        address += "&REQUEST=GetCapabilities"
    source = f"WMTS:{server}/{address},layer=restored,tilematrixset=WebMercatorQuad"
    assert np.abs(read_by_gdal(source, tile, tmp_path) - expected(server, tile)).max() == 0


@needs_gdal
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


@needs_gdal
def test_ogc_api(server: str, tile: mercantile.Tile, tmp_path: Path) -> None:
    """From the landing page to the layer, as a user of GDAL gets there, and then its pixels."""
    info = ["gdalinfo", f"OGCAPI:{server}/"]
    listed = subprocess.run(info, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path)
    sources = re.findall(r"SUBDATASET_\d+_NAME=(.*)", listed.stdout)
    assert [source.rsplit("/", 1)[1] for source in sources] == ["restored", "old", "difference"]
    seen = read_by_gdal(sources[0], tile, tmp_path, "-oo", "CACHE=NO", in_degrees=True)
    # Its pixels are degrees of equal size, not those of the tile.
    assert np.abs(seen - expected(server, tile)).mean() < 8


@needs_gdal
def test_gdal_reads_all_of_a_photograph_with_its_five_connections(server: str, tmp_path: Path) -> None:
    command = [GDAL, "-q", "-oo", "CACHE=NO", f"OGCAPI:{server}/collections/old", str(tmp_path / "all.tif")]
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=tmp_path)
    with rasterio.open(tmp_path / "all.tif") as dataset:
        assert dataset.width > 1000
        assert (dataset.read(4) == 255).mean() > 0.9


@needs_gdal
@pytest.mark.parametrize("layer", ["restored", "old"])
def test_gdal_wms_file(server: str, tile: mercantile.Tile, tmp_path: Path, layer: str) -> None:
    """A description of the tiles around the photograph: it is read at its own size, and from its overviews."""
    (tmp_path / "gdal_wms.xml").write_bytes(httpx.get(f"{server}/{layer}/gdal_wms.xml").content)
    for zooms in (0, -3, 1):
        there = mercantile.tile(*mercantile.ul(tile), tile.z + zooms) if zooms > 0 else tile
        there = mercantile.parent(tile, zoom=tile.z + zooms) if zooms < 0 else there
        assert (
            np.abs(read_by_gdal("gdal_wms.xml", there, tmp_path) - expected(server, there, layer)).max() == 0
        )
    whole = subprocess.run(
        ["gdalinfo", "gdal_wms.xml"], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    (size,) = re.findall(r"Size is (\d+),", whole.stdout)
    assert int(size) < 20_000, "not the size of the Earth"


def test_owslib_reads_the_ogc_api(server: str) -> None:
    maps = Maps(f"{server}/ogcapi")
    assert any("ogcapi-tiles-1/1.0/conf/core" in name for name in maps.conformance()["conformsTo"])
    assert maps.maps() == ["restored", "old", "difference"]
    bbox = maps.collection("old")["extent"]["spatial"]["bbox"][0]
    picture = Image.open(maps.map("old", bbox=bbox, width=300, height=200))
    assert (picture.format, picture.size) == ("PNG", (300, 200))
    # The address of the map itself does as well, with a header.
    assert Maps(server, headers={"Accept": "application/json"}).maps()[0] == "restored"
