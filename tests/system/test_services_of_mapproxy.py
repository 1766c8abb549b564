"""MapProxy as the service that a photograph is behind: WMS and WMTS, in a national CRS and in Web Mercator."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
import rasterio
from conftest import running_server
from sheets_of_ground import RED, Shown, near, write_sheet

from tileserver.errors import SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.source import Source

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("MAPPROXY_PYTHON", ROOT / ".venv-bench" / "bin" / "python"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="MapProxy is missing: make .venv-bench/.stamp-mapproxy, or name its Python as MAPPROXY_PYTHON",
    ),
]
CONFIGURATION = """
services:
  wms: {{srs: ["EPSG:32618", "EPSG:3857", "EPSG:4326"], bbox_srs: ["EPSG:32618", "EPSG:4326"],
        md: {{title: Town, access_constraints: CC BY 4.0, fees: none, contact: {{organization: Survey of A}}}}}}
  wmts: {{md: {{title: Town, access_constraints: CC BY 4.0, fees: none, contact: {{organization: Survey of A}}}}}}
layers: [{{name: photo, title: Town 1968, sources: [tiles]}}, {{name: other, title: Other, sources: [tiles]}}]
caches:
  mercator: {{grids: [GLOBAL_WEBMERCATOR], sources: [ours], format: image/png, disable_storage: true}}
  tiles: {{grids: [national, GLOBAL_WEBMERCATOR], sources: [mercator], format: image/png, disable_storage: true}}
sources:
  ours:
    type: tile
    grid: GLOBAL_WEBMERCATOR
    url: "{url}/old/tiles/WebMercatorQuad/%(z)s/%(x)s/%(y)s.png"
    transparent: true
    coverage: {{bbox: [{bbox}], srs: "EPSG:4326"}}
    on_error: {{404: {{response: transparent, cache: false}}}}
grids:
  national:
    srs: "EPSG:32618"
    bbox: [600000, 4600000, 700000, 4700000]
    res: [9.6, 4.8, 2.4, 1.2, 0.6, 0.3]
    origin: ul
globals: {{cache: {{base_dir: {folder}/cache, lock_dir: {folder}/locks}}, image: {{resampling_method: bicubic}}}}
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Source]]:
    """MapProxy in front of our own server, and the photograph itself."""
    folder = tmp_path_factory.mktemp("mapproxy")
    path = write_sheet(folder / "a.tif", 0, 0, RED, side=512, overviews=())
    with rasterio.open(path, "r+") as file:
        file.write(np.full((256, 256), 200, np.uint8), 2, window=((256, 512), (256, 512)))
    with closing(Source.open(str(path))) as direct, running_server(path) as server:
        bbox = ",".join(map(repr, direct.info.bounds_lonlat))
        settings = CONFIGURATION.format(url=server.url, folder=folder, bbox=bbox)
        (folder / "mapproxy.yaml").write_text(settings)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = [PYTHON, "-m", "gunicorn", "--threads", "4", "--bind", f"127.0.0.1:{port}"]
        application = f"mapproxy.wsgiapp:make_wsgi_app('{folder}/mapproxy.yaml')"
        log = (folder / "log").open("w")
        with subprocess.Popen([*command, application], stdout=log, stderr=log) as process:
            try:
                deadline = time.monotonic() + 60
                while not answers(f"http://127.0.0.1:{port}/"):
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.1)
                yield f"http://127.0.0.1:{port}", direct
            finally:
                process.terminate()
                log.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("address", "crs", "epsg"),
    [
        ("WMS:{url}/service,layer=photo", None, 32618),
        ("WMS:{url}/service?layers=photo,crs=EPSG:4326", None, 4326),
        ("WMS:{url}/service?,layer=photo", "EPSG:3857", 3857),
        ("WMTS:{url}/wmts/1.0.0/WMTSCapabilities.xml,layer=photo", None, 32618),
        ("WMTS:{url}/service,layer=photo,tilematrixset=GLOBAL_WEBMERCATOR", None, 3857),
        ("WMTS:{url}/service,layer=photo", "EPSG:32618", 32618),
    ],
)
def test_mapproxy_is_a_photograph_in_its_place(
    services: tuple[str, Source], address: str, crs: str | None, epsg: int
) -> None:
    url, direct = services
    placing = Placing(crs=crs, source_pixel_size_m=0.6, source_bounds=direct.info.bounds_lonlat)
    with closing(Source.open(address.format(url=url), placing=placing)) as source:
        assert source.info.crs.to_epsg() == epsg
        assert source.info.name == "Town 1968"
        assert "Survey of A" in source.info.credit
        assert "CC BY 4.0" in source.info.credit
        for zooms_out in (0, 2):
            shown, expected = Shown(source, zooms_out), Shown(direct, zooms_out)
            for place in ((100, 100), (300, 100), (300, 300), (450, 400)):
                found = expected.at(*place)
                assert found is not None
                assert near(shown.at(*place), found), (place, zooms_out, shown.at(*place), found)
        assert shown.at(-150, 100) is None


def test_unknown_layers_are_answered_with_those_that_there_are(services: tuple[str, Source]) -> None:
    for name in ("WMS:{}/service,layer=x", "WMTS:{}/service,layer=x"):
        with pytest.raises(SourceError, match="has no layer 'x': it has photo, other"):
            Source.open(name.format(services[0]))
    with pytest.raises(SourceError, match="name one with ,layer=NAME, of photo, other"):
        Source.open(f"WMS:{services[0]}/service")
    with pytest.raises(SourceError, match="is not a WMTS: its answer is WMS_Capabilities"):
        Source.open(f"WMTS:{services[0]}/service/wms.xml?REQUEST=GetCapabilities&SERVICE=WMS,layer=photo")
