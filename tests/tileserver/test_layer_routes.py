"""Routes of layers are made when they are asked for; clients do not notice."""

from __future__ import annotations

from collections.abc import Callable

from conftest import middle_tile
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web.app import Application, create_app


def layers_with_routes(app: Application) -> list[str]:
    """Layers in the order of their routes, one for each route."""
    tags = [route.tags[0] for route in app.router.routes if isinstance(route, APIRoute) and route.tags]
    return [str(tag) for tag in tags]


def test_routes_of_a_layer_are_made_once_when_they_are_asked_for(
    make_service: Callable[..., TileService],
) -> None:
    service = make_service()
    app = create_app(service.settings, service)
    assert isinstance(app, Application)
    client, tile = TestClient(app), middle_tile(service)
    assert client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").status_code == 200
    assert client.get("/").status_code == client.get("/tilejson.json").status_code == 200
    assert layers_with_routes(app) == []

    def ask() -> None:
        assert client.get("/old/info").status_code == 200
        refused = client.get("/old/info", params={"url": "/etc/passwd"})
        assert (refused.status_code, "url is not obeyed" in refused.text) == (400, True)

    ask()
    made = layers_with_routes(app)
    assert set(made) == {"old"}
    ask()
    assert layers_with_routes(app) == made


def test_what_was_asked_first_decides_nothing(make_service: Callable[..., TileService]) -> None:
    documents = []
    for first in ("/difference/info", "/restored/info", "/openapi.json"):
        service = make_service()
        app = create_app(service.settings, service)
        client = TestClient(app)
        client.get(first)
        documents.append(client.get("/openapi.json").content)
        assert isinstance(app, Application)
        assert list(dict.fromkeys(layers_with_routes(app))) == list(service.rasters.layers)
    assert documents[0] == documents[1] == documents[2]
    assert b"/difference/preview" in documents[0]
