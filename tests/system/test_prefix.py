"""Below a path of another site, behind the real nginx: every address in documents and redirects leads back there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_server
from urllib.parse import urlsplit

import httpx
import mercantile
import pytest
from conftest import free_port
from nginx_proxy import AROUND, NGINX, maps_on, running_nginx

from tileserver.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="Debian: apt-get install nginx-light"),
]

HOST = "maps.example"
# How docs/operations.md tells the server, and the two ways that need the option.
STRIPPED = "location /maps/ {{ proxy_pass http://127.0.0.1:{upstream}/; {headers} }}"
KEPT = "location /maps/ {{ proxy_pass http://127.0.0.1:{upstream}; {headers} }}"
TOLD = "proxy_set_header X-Forwarded-Prefix /maps;"
WAYS = {"header": (STRIPPED, TOLD, ""), "stripped": (STRIPPED, "", "/maps"), "kept": (KEPT, "", "/maps/")}


@contextmanager
def nginx(folder: Path, location: str) -> Iterator[int]:
    """Run nginx with one location; yields its port."""
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; proxy_set_header Host {HOST}; {location} }}"
    with running_nginx(folder, port, AROUND.format(folder=folder, configuration=server)):
        yield port


@pytest.fixture(scope="module", params=WAYS)
def site(
    request: pytest.FixtureRequest,
    photo: Path,
    new_photo: Path,
    tiny_weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    location, headers, root_path = WAYS[request.param]
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", root_path=root_path)
        for name, path in (("y1998", photo), ("y1975", new_photo))
    }
    with ExitStack() as stack:
        listener = stack.enter_context(create_server(("127.0.0.1", 0)))
        stack.enter_context(maps_on(listener, maps))
        upstream = listener.getsockname()[1]
        text = location.format(
            upstream=upstream, headers=f"proxy_set_header Host {HOST}; {headers}" if headers else ""
        )
        port = stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), text))
        yield stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))


def addresses(text: str) -> set[str]:
    """Every URL of the site that a document contains, with its templates as they are."""
    return set(re.findall(rf"http://{HOST}(/[^\"'<>\s]*)", text))


@pytest.mark.parametrize("place", ["/maps", "/maps/y1998", "/maps/y1975"])
def test_every_document_names_the_prefix(site: httpx.Client, place: str) -> None:
    for document in (
        "tilejson.json",
        "old/WebMercatorQuad/tilejson.json",
        "restored/WMTSCapabilities.xml",
        "restored/tiles",
        "restored/tiles/WebMercatorQuad",
        "tileMatrixSets",
    ):
        answer = site.get(f"{place}/{document}")
        assert answer.status_code == 200, document
        found = addresses(answer.text)
        assert found, document
        assert {path for path in found if not path.startswith(f"{place}/")} == set(), document
        for name in ("X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto"):
            assert name in answer.headers["vary"]


@pytest.mark.parametrize("place", ["/maps", "/maps/y1975"])
def test_addresses_lead_to_tiles(site: httpx.Client, place: str) -> None:
    document = site.get(f"{place}/tilejson.json").json()
    lon, lat, zoom = document["center"]
    tile = mercantile.tile(lon, lat, zoom)._asdict()
    template = urlsplit(document["tiles"][0]).path
    assert site.get(template.format(**tile)).status_code == 200
    config = site.get(f"{place}/config.json").json()
    assert config["tiles"]["old"].startswith(f"{place}/old/tiles/")
    assert site.get(config["tiles"]["old"].format(**tile)).status_code == 200


def test_redirects_keep_the_prefix(site: httpx.Client) -> None:
    answer = site.get("/maps/y1975")
    assert answer.status_code == 307
    assert urlsplit(answer.headers["location"]).path == "/maps/y1975/"


def test_the_specification_names_the_prefix(site: httpx.Client) -> None:
    servers = json.loads(site.get("/maps/openapi.json").text)["servers"]
    assert [server["url"] for server in servers] == ["/maps"]
