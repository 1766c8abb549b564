"""What proxies say of the server's address, and who is believed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from tileserver.errors import SettingsError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.app import create_app
from tileserver.web.forwarded import ForwardedAddress
from tileserver.web.maps import open_generation

PROXY, STRANGER = ("127.0.0.1", 1), ("192.0.2.7", 1)
TOLD = {
    "X-Forwarded-Host": "evil.example, maps.example:8443",
    "X-Forwarded-Prefix": "/maps",
    "X-Forwarded-Proto": "https",
}


@pytest.fixture
def ask(make_service: Callable[..., TileService]) -> Callable[..., TestClient]:
    service = make_service()
    app = create_app(service.settings, service)

    def make(client: tuple[str, int], root_path: str = "") -> TestClient:
        return TestClient(ForwardedAddress(app, root_path=root_path), client=client)

    return make


def template(client: TestClient, path: str = "/tilejson.json", **headers: str) -> str:
    return str(client.get(path, headers=headers).json()["tiles"][0])


def test_only_trusted_proxies_are_believed(ask: Callable[..., TestClient]) -> None:
    """And of a list, the value that the nearest one has added."""
    assert template(ask(PROXY), **TOLD).startswith("https://maps.example:8443/maps/restored/tiles/")
    assert template(ask(STRANGER), **TOLD).startswith("http://testserver/restored/tiles/")
    # To a stranger, the setting still applies.
    found = template(ask(STRANGER, "/town"), **TOLD)
    assert found.startswith("http://testserver/town/restored/tiles/")


def test_the_header_of_a_proxy_has_precedence_over_the_setting(ask: Callable[..., TestClient]) -> None:
    client = ask(PROXY, "/town")
    assert template(client, **{"X-Forwarded-Prefix": "/maps/"}).startswith("http://testserver/maps/restored/")
    for path in ("/tilejson.json", "/town/tilejson.json"):
        assert template(client, path).startswith("http://testserver/town/restored/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Host", 'a"><script>'),
        ("X-Forwarded-Host", "a/b"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "maps"),
        ("X-Forwarded-Prefix", "/" + 300 * "a"),
    ],
)
def test_malformed_headers_are_refused(ask: Callable[..., TestClient], name: str, value: str) -> None:
    answer = ask(PROXY).get("/tilejson.json", headers={name: value})
    assert answer.status_code == 400
    assert name in answer.json()["detail"]
    assert answer.headers["cache-control"] == "no-store"


def test_tiles_do_not_vary_with_the_address(served: TestClient) -> None:
    lon, lat, _ = served.get("/tilejson.json").json()["center"]
    assert "X-Forwarded" not in served.get("/restored/preview.png?max_size=64").headers.get("vary", "")
    assert "X-Forwarded-Prefix" in served.get("/tilejson.json").headers["vary"]
    assert "X-Forwarded-Prefix" in served.get(f"/old/point/{lon},{lat}").headers["vary"]


def test_the_setting_holds_under_another_asgi_server(make_service: Callable[..., TileService]) -> None:
    service = make_service(root_path="/town/")
    client = TestClient(create_app(service.settings, service))
    for path in ("/tilejson.json", "/town/tilejson.json"):
        assert template(client, path).startswith("http://testserver/town/restored/")


def test_a_prefix_that_is_also_a_map_is_refused(make_service: Callable[..., TileService]) -> None:
    settings = make_service(root_path="/second").settings
    shared, admission = Shared(settings), Admission(settings)
    try:
        with pytest.raises(SettingsError, match="rename one"):
            open_generation({"first": settings, "second": settings}, shared, admission)
    finally:
        admission.close()
        shared.close()


@pytest.mark.parametrize("value", ["maps", "/a b", "//host", "/a?b"])
def test_prefixes_that_are_none(value: str) -> None:
    with pytest.raises(ValidationError, match="such as /maps"):
        Settings(source="x", root_path=value)
