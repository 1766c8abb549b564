"""The routes of every layer, which are made when the first request for one of them comes.

Making those of one layer takes a tenth of a second of the processor, and few visitors use more than two layers.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from tileserver.tiling.layer import Layer
from tileserver.web.options import refuse_unknown_options
from tileserver.web.routes import LayerFactory
from tileserver.web.saved_view import add_view_routes
from tileserver.web.tile_endpoint import TileEndpoint


class LayerRoutes:
    """Adds the routes of layers to an application, in the order of the layers and in one place among the other routes.

    Args:
        app: the application; routes that it gets later come after those of the layers.
        endpoint: answers the tile requests.
        responses: what any route may answer, for the OpenAPI document.
        traced: arguments of the factory that decide what is traced.
    """

    def __init__(
        self,
        app: FastAPI,
        endpoint: TileEndpoint,
        responses: dict[int | str, dict[str, Any]],
        traced: dict[str, Any],
    ) -> None:
        self._app, self._endpoint, self._responses, self._traced = app, endpoint, responses, traced
        self._place = len(app.router.routes)
        self._made: dict[Layer, list[Any]] = {layer: [] for layer in endpoint.service.rasters.layers}
        self._missing: dict[str, Layer] = {layer: layer for layer in self._made}

    def add_for(self, path: str) -> None:
        """Make sure that the routes exist that may answer a path, such as /old/tiles/WebMercatorQuad/15/1/2."""
        if self._missing and (layer := self._missing.pop(path[1:].partition("/")[0], None)):
            self._add(layer)

    def add_all(self) -> None:
        """Make sure that all routes exist, as for the OpenAPI document."""
        while self._missing:
            self._add(self._missing.popitem()[1])

    def _add(self, layer: Layer) -> None:
        # With all that `include_router` would add, which makes every route a second time.
        router = APIRouter(
            prefix=f"/{layer}",
            tags=[layer],
            dependencies=[Depends(refuse_unknown_options)],
            responses=self._responses,
            dependency_overrides_provider=self._app,
        )
        # The operation ids of its routes begin with the name, and clients may have been generated from them.
        LayerFactory(endpoint=self._endpoint, layer=layer, router=router, name=f".{layer}", **self._traced)
        for route in router.routes:
            if isinstance(route, APIRoute):
                # titiler's tracing replaces the endpoint, in which only `include_router` would notice it.
                route.dependant.call = route.endpoint
        add_view_routes(router, self._endpoint, layer)
        routes = self._app.router.routes
        count = sum(map(len, self._made.values()))
        self._made[layer] = list(router.routes)
        routes[self._place : self._place + count] = [one for made in self._made.values() for one in made]
