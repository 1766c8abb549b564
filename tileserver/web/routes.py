"""Routes: titiler's factory for each layer, the short XYZ routes, and those for monitoring and the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from attrs import define
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from titiler.core.dependencies import DefaultDependency
from titiler.core.factory import TilerFactory

from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import BBox, TileAddress
from tileserver.tiling.layer import WEB_MERCATOR, Layer
from tileserver.web import ogc_api, wmts
from tileserver.web.documents import DOCUMENT, DocumentFormat, document
from tileserver.web.formats import accepted_format
from tileserver.web.forwarded import base_url
from tileserver.web.layer_reader import LayerInput, LayerReader
from tileserver.web.ogc import xml_response
from tileserver.web.options import Adjustment, refuse_unknown_options, tile_scale
from tileserver.web.render import render
from tileserver.web.tile_endpoint import TileEndpoint
from tileserver.web.tilejson import TileJsonOptions
from tileserver.web.tilejson import tilejson as tilejson_of

# Successful responses, for the OpenAPI document.
_IMAGE: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
}
_XML: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {"application/xml": {}}}},
}


class Bounds(BaseModel):
    """West, south, east and north in degrees, with their CRS."""

    bounds: BBox
    crs: str


@define(kw_only=True)
class LayerFactory(TilerFactory):
    """titiler's routes for one layer. No URL parameter chooses a file or an expression.

    Attributes:
        endpoint: answers the tile requests.
        layer: name of the layer.
    """

    endpoint: TileEndpoint
    layer: Layer
    reader: type[LayerReader] = LayerReader
    layer_dependency: type[DefaultDependency] = DefaultDependency
    # Replaced for layers that are shown as the photograph is.
    dataset_dependency: type[DefaultDependency] = DefaultDependency
    tile_dependency: type[DefaultDependency] = DefaultDependency
    render_dependency: type[DefaultDependency] = DefaultDependency
    process_dependency: Callable[..., None] = lambda: None
    colormap_dependency: Callable[..., None] = lambda: None
    add_viewer: bool = False

    def register_routes(self) -> None:
        """Register all routes of the layer."""
        source = LayerInput(self.endpoint.service, self.layer)
        self.path_dependency = lambda: source
        self.render_func = partial(render, packet=self.endpoint.service.mark(self.layer))
        if self.layer in ("old", "new"):
            self.render_dependency = Adjustment
        super().register_routes()  # type: ignore[no-untyped-call]
        self.served_bounds()
        self.capabilities()

    def bounds(self) -> None:
        """Register nothing: older versions of titiler call this."""

    def wmts(self) -> None:
        """Register nothing, likewise."""

    def served_bounds(self) -> None:
        """Register the route for the bounds of the area served, in degrees."""
        layer, rasters = self.layer, self.endpoint.service.rasters

        @self.router.get("/bounds", name="bounds")
        def bounds() -> Bounds:
            """West, south, east and north."""
            return Bounds(bounds=rasters.view(layer, WEB_MERCATOR).bounds_lonlat, crs=ogc_api.CRS84)

    def tilesets(self) -> None:
        """Register the routes of OGC API Tiles that describe the layer's tiles."""
        layer, service = self.layer, self.endpoint.service

        @self.router.get("/tiles", name="tilesets", **DOCUMENT)
        def tilesets(request: Request, f: DocumentFormat = None) -> Response:
            """List the tile matrix sets that the layer is served on."""
            return document(
                request, f, f"Tiles of {layer}", ogc_api.tilesets(service, base_url(request), layer)
            )

        @self.router.get("/tiles/{tileMatrixSetId}", name="tileset", **DOCUMENT)
        def tileset(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            minzoom: int | None = None,
            maxzoom: int | None = None,
            f: DocumentFormat = None,
        ) -> Response:
            """Describe the layer's tiles on one tile matrix set."""
            zooms = TileJsonOptions(minzoom=minzoom, maxzoom=maxzoom)
            content = ogc_api.tileset(service, base_url(request), layer, tileMatrixSetId, zooms)
            return document(request, f, f"Tiles of {layer} on {tileMatrixSetId}", content)

    def tile(self) -> None:
        """Register the tile routes, the more specific ones first."""
        layer, endpoint, adjusted = self.layer, self.endpoint, Depends(self.render_dependency)

        async def answer(
            request: Request, tms: str, tile: TileAddress, extension: str, adjustment: DefaultDependency
        ) -> Response:
            if isinstance(adjustment, Adjustment) and not adjustment.is_plain:
                return await endpoint.adjusted(request, layer, tms, tile, extension, adjustment.apply)
            return await endpoint.answer(request, layer, tms, tile, extension)

        @self.router.get(
            "/tiles/{tileMatrixSetId}/{z}/{x}/{y}@{scale}x.{format}", name="scaled_tile", **_IMAGE
        )
        async def scaled(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            z: int,
            x: int,
            y: int,
            scale: int,
            format: str,  # noqa: A002
            tilesize: int | None = None,
            adjustment: DefaultDependency = adjusted,
        ) -> Response:
            tile = TileAddress(z, x, y, tile_scale(tilesize, scale))
            return await answer(request, tileMatrixSetId, tile, format, adjustment)

        @self.router.get("/tiles/{tileMatrixSetId}/{z}/{x}/{y}.{format}", name="tile", **_IMAGE)
        async def formatted(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            z: int,
            x: int,
            y: int,
            format: str,  # noqa: A002
            tilesize: int | None = None,
            adjustment: DefaultDependency = adjusted,
        ) -> Response:
            tile = TileAddress(z, x, y, tile_scale(tilesize))
            return await answer(request, tileMatrixSetId, tile, format, adjustment)

        @self.router.get("/tiles/{tileMatrixSetId}/{z}/{x}/{y}", name="tile", **_IMAGE)
        async def plain(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            z: int,
            x: int,
            y: int,
            tilesize: int | None = None,
            adjustment: DefaultDependency = adjusted,
        ) -> Response:
            tile = TileAddress(z, x, y, tile_scale(tilesize))
            found = await answer(
                request, tileMatrixSetId, tile, accepted_format(request.headers.get("accept", "")), adjustment
            )
            found.headers.add_vary_header("Accept")
            return found

    def tilejson(self) -> None:
        """Register the route for the layer's TileJSON."""
        layer, service, adjusted = self.layer, self.endpoint.service, Depends(self.render_dependency)

        @self.router.get("/{tileMatrixSetId}/tilejson.json", name="tilejson")
        def tilejson(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            options: Annotated[TileJsonOptions, Depends()],
            adjustment: DefaultDependency = adjusted,
        ) -> JSONResponse:
            document = tilejson_of(service, base_url(request), layer, tileMatrixSetId, options)
            if isinstance(adjustment, Adjustment) and not adjustment.is_plain:
                document["tiles"] = [f"{url}?{adjustment.query()}" for url in document["tiles"]]
            return JSONResponse(document)

    def statistics(self) -> None:
        """Register no routes for statistics: their parameters are unbounded."""

    def capabilities(self) -> None:
        """Register the route for the layer's WMTS capabilities."""
        layer, service = self.layer, self.endpoint.service

        @self.router.get("/WMTSCapabilities.xml", name="wmts", **_XML)
        def capabilities(request: Request, tile_format: Extension = "png") -> Response:
            document = wmts.capabilities(service, base_url(request), [layer], tile_format)
            return xml_response(document, "application/xml")


def short_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return `/tiles/{z}/{x}/{y}[@2x][.{ext}]` and `/tilejson.json`: the restored layer in Web Mercator."""
    router = APIRouter(dependencies=[Depends(refuse_unknown_options)])

    @router.get("/tiles/{z}/{x}/{y}@{scale}x.{ext}", **_IMAGE)
    async def scaled(
        request: Request, z: int, x: int, y: int, scale: int, ext: str, tilesize: int | None = None
    ) -> Response:
        tile = TileAddress(z, x, y, tile_scale(tilesize, scale))
        return await endpoint.answer(request, "restored", WEB_MERCATOR, tile, ext)

    @router.get("/tiles/{z}/{x}/{y}.{ext}", **_IMAGE)
    async def tile(
        request: Request, z: int, x: int, y: int, ext: str, tilesize: int | None = None
    ) -> Response:
        tile = TileAddress(z, x, y, tile_scale(tilesize))
        return await endpoint.answer(request, "restored", WEB_MERCATOR, tile, ext)

    @router.get("/tiles/{z}/{x}/{y}", **_IMAGE)
    async def plain(request: Request, z: int, x: int, y: int, tilesize: int | None = None) -> Response:
        tile = TileAddress(z, x, y, tile_scale(tilesize))
        found = await endpoint.answer(
            request, "restored", WEB_MERCATOR, tile, accepted_format(request.headers.get("accept", ""))
        )
        found.headers.add_vary_header("Accept")
        return found

    @router.get("/tilejson.json")
    def tilejson(request: Request, options: Annotated[TileJsonOptions, Depends()]) -> JSONResponse:
        return JSONResponse(
            tilejson_of(endpoint.service, base_url(request), "restored", WEB_MERCATOR, options)
        )

    return router
