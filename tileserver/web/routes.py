"""Routes: titiler's factory for every layer, the short XYZ route, and what machines and the page ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from attrs import define, field
from fastapi import APIRouter, Depends, Query
from morecantile.defaults import TileMatrixSets
from pydantic import BaseModel
from rasterio.crs import CRS
from rasterio.errors import CRSError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from titiler.core.dependencies import CoordCRSParams, CRSParams, DefaultDependency, DstCRSParams
from titiler.core.factory import TilerFactory
from titiler.core.routing import EndpointScope

from tileserver.errors import BadParameterError
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import BBox, TileAddress
from tileserver.tiling.layer import WEB_MERCATOR, Layer, supported_tms
from tileserver.web import wmts
from tileserver.web.layer_reader import LayerInput, LayerReader
from tileserver.web.tile_endpoint import TileEndpoint
from tileserver.web.tilejson import DEFAULT_FORMAT, page_config
from tileserver.web.tilejson import tilejson as tilejson_of

_CRS_NAME = re.compile(r"\[?(EPSG|ESRI|OGC|IAU_2015):[A-Za-z0-9]{1,12}\]?", re.IGNORECASE)
_CRS_URI = re.compile(r"https?://www\.opengis\.net/def/crs/(EPSG|OGC|ESRI)/[0-9.]+/([A-Za-z0-9]{1,12})")


# For the OpenAPI document: what a route answers when all is well.
_PICTURE: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
}
_XML: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {"application/xml": {}}}},
}


CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


class Bounds(BaseModel):
    """West, south, east, north, in degrees."""

    bounds: BBox
    crs: str


def base_url(request: Request) -> str:
    """Where the visitor reached the server, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def named_crs(text: str | None) -> CRS | None:
    """A CRS by authority and code.

    titiler accepts whatever GDAL can make a CRS of, which includes names of files and addresses on the
    network that GDAL then opens. No visitor may make the server do that.

    Raises:
        BadParameterError: it is no such name, or nobody knows it.
    """
    if not text:
        return None
    uri = _CRS_URI.fullmatch(text)
    if uri is None and not _CRS_NAME.fullmatch(text):
        raise BadParameterError("give a CRS by authority and code, such as EPSG:3857")
    try:
        return CRS.from_string(f"{uri[1]}:{uri[2]}" if uri else text.strip("[]").upper())
    except CRSError as error:
        raise BadParameterError("nobody knows this CRS: give one such as EPSG:3857") from error


def safe_crs_dependencies() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Overrides for titiler's CRS parameters; see `named_crs`."""

    def crs(crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(crs)

    def coord_crs(coord_crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(coord_crs)

    def dst_crs(dst_crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(dst_crs)

    return {CRSParams: crs, CoordCRSParams: coord_crs, DstCRSParams: dst_crs}


def bounded_zooms(known: TileMatrixSets) -> Callable[..., None]:
    """Dependency that refuses zooms that no set defines: titiler would list every one between two numbers."""
    last = {name: int(known.get(name).maxzoom) for name in known.list()}

    def check(tileMatrixSetId: str, minzoom: int | None = None, maxzoom: int | None = None) -> None:  # noqa: N803
        most = last.get(tileMatrixSetId, 0)
        if any(zoom is not None and not 0 <= zoom <= most for zoom in (minzoom, maxzoom)):
            raise BadParameterError(f"minzoom and maxzoom of {tileMatrixSetId} are 0 to {most}")

    return check


@define(kw_only=True)
class LayerFactory(TilerFactory):
    """titiler's routes for one layer. Nothing in a URL chooses what is opened, computed or rescaled.

    Attributes:
        endpoint: answers the tile requests.
        layer: name of the layer.
    """

    endpoint: TileEndpoint
    layer: Layer
    reader: type[LayerReader] = LayerReader
    supported_tms: TileMatrixSets = field(factory=supported_tms)
    layer_dependency: type[DefaultDependency] = DefaultDependency
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
        tileset = EndpointScope(path="/tiles/{tileMatrixSetId}", method="GET")
        self.route_dependencies = [([tileset], [Depends(bounded_zooms(self.supported_tms))])]
        super().register_routes()  # type: ignore[no-untyped-call]
        self.bounds()
        self.wmts()

    def bounds(self) -> None:
        """Register the layer's bounds: those that are served, in degrees."""
        layer, pictures = self.layer, self.endpoint.service.pictures

        @self.router.get("/bounds", name="bounds")
        def bounds() -> Bounds:
            """West, south, east and north."""
            return Bounds(bounds=pictures.view(layer, WEB_MERCATOR).bounds_lonlat, crs=CRS84)

    def tile(self) -> None:
        """Register the tile routes, of which the more special come first."""
        layer, endpoint = self.layer, self.endpoint

        @self.router.get(
            "/tiles/{tileMatrixSetId}/{z}/{x}/{y}@{scale}x.{format}", name="scaled_tile", **_PICTURE
        )
        async def scaled(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            z: int,
            x: int,
            y: int,
            scale: int,
            format: str,  # noqa: A002
        ) -> Response:
            return await endpoint.answer(request, layer, tileMatrixSetId, TileAddress(z, x, y, scale), format)

        @self.router.get("/tiles/{tileMatrixSetId}/{z}/{x}/{y}.{format}", name="tile", **_PICTURE)
        async def formatted(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            z: int,
            x: int,
            y: int,
            format: str,  # noqa: A002
        ) -> Response:
            return await endpoint.answer(request, layer, tileMatrixSetId, TileAddress(z, x, y), format)

        @self.router.get("/tiles/{tileMatrixSetId}/{z}/{x}/{y}", name="tile", **_PICTURE)
        async def plain(request: Request, tileMatrixSetId: str, z: int, x: int, y: int) -> Response:  # noqa: N803
            tile = TileAddress(z, x, y)
            return await endpoint.answer(request, layer, tileMatrixSetId, tile, DEFAULT_FORMAT)

    def tilejson(self) -> None:
        """Register the layer's TileJSON."""
        layer, service = self.layer, self.endpoint.service

        @self.router.get("/{tileMatrixSetId}/tilejson.json", name="tilejson")
        def tilejson(
            request: Request,
            tileMatrixSetId: str,  # noqa: N803
            tile_format: Extension = DEFAULT_FORMAT,
        ) -> JSONResponse:
            return JSONResponse(tilejson_of(service, base_url(request), layer, tileMatrixSetId, tile_format))

    def statistics(self) -> None:
        """Register no statistics: nobody needs them, and their parameters have no bounds."""

    def wmts(self) -> None:
        """Register the layer's WMTS capabilities."""
        layer, service, names = self.layer, self.endpoint.service, list(self.supported_tms.list())

        @self.router.get("/WMTSCapabilities.xml", name="wmts", **_XML)
        def capabilities(request: Request) -> Response:
            document = wmts.capabilities(service, base_url(request), layer, names)
            return Response(document, media_type="application/xml")


def short_routes(endpoint: TileEndpoint) -> APIRouter:
    """`/tiles/{z}/{x}/{y}[@2x].{ext}` and `/tilejson.json`: the restored layer in Web Mercator."""
    router = APIRouter()

    @router.get("/tiles/{z}/{x}/{y}@{scale}x.{ext}", **_PICTURE)
    async def scaled(request: Request, z: int, x: int, y: int, scale: int, ext: str) -> Response:
        return await endpoint.answer(request, "restored", WEB_MERCATOR, TileAddress(z, x, y, scale), ext)

    @router.get("/tiles/{z}/{x}/{y}.{ext}", **_PICTURE)
    async def tile(request: Request, z: int, x: int, y: int, ext: str) -> Response:
        return await endpoint.answer(request, "restored", WEB_MERCATOR, TileAddress(z, x, y), ext)

    @router.get("/tilejson.json")
    def tilejson(request: Request, tile_format: Extension = DEFAULT_FORMAT) -> JSONResponse:
        return JSONResponse(
            tilejson_of(endpoint.service, base_url(request), "restored", WEB_MERCATOR, tile_format)
        )

    return router


def machine_routes(service: TileService) -> APIRouter:
    """Health, readiness, metrics, and the page's configuration."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, Literal["ok"]]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        if service.outdated:
            return JSONResponse({"detail": service.outdated}, 503)
        if service.ready:
            return JSONResponse({"status": "ready", "runtime": service.restorer.runtime})
        return JSONResponse(
            {"detail": "the network is warming up: ask again in a moment"}, 503, {"Retry-After": "1"}
        )

    # On the event loop, since all threads may be busy when somebody looks.
    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.exposition(), media_type="text/plain; version=0.0.4")

    @router.get("/config.json")
    def config() -> JSONResponse:
        return JSONResponse(page_config(service))

    return router
