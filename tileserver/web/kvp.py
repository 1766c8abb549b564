"""Routes of the OGC services that are asked by key-value pairs: `/wmts?REQUEST=GetTile` and `/wms?REQUEST=GetMap`."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tileserver.attribution import ai_header
from tileserver.tiling.encode import MEDIA_TYPES
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.layer import AI_LAYERS
from tileserver.web import wms, wmts
from tileserver.web.forwarded import base_url
from tileserver.web.grids import covering_views
from tileserver.web.middleware import AI_HEADER
from tileserver.web.ogc import OgcError, Parameters, answered, xml_response
from tileserver.web.pictures import draw
from tileserver.web.tile_endpoint import TileEndpoint

_XML: Final = "application/xml"
_KINDS: Final = ("text/xml", _XML, *wms.XML_1_1_1, *MEDIA_TYPES.values())
_ANSWERS: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {
        code: {"content": {kind: {} for kind in _KINDS}} for code in (200, 400, 404, 422, 500, 502, 503)
    },
}


def kvp_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return `/wmts` and `/wms`, for all layers of the map."""
    router = APIRouter()

    @router.get("/wmts", **_ANSWERS)
    async def wmts_by_kvp(request: Request) -> Response:
        return await answered(_wmts(endpoint, request), wmts.exception_report)

    @router.get("/wms", **_ANSWERS)
    async def wms_by_kvp(request: Request) -> Response:
        version = wms.version_of(Parameters(request))
        report = partial(wms.exception_report, version)
        return await answered(_wms(endpoint, request, version), report, wms.EXCEPTION_TYPES[version])

    return router


async def _wms(endpoint: TileEndpoint, request: Request, version: str) -> Response:
    """Answer a WMS request.

    Raises:
        OgcError: a parameter is missing or not served.
        TileServerError: as `TileService.picture`.
    """
    asked, service = Parameters(request), endpoint.service
    # Of version 1.1.1, GetMap has no SERVICE.
    if asked.get("SERVICE", "WMS").upper() != "WMS":
        asked.chosen("SERVICE", ["WMS", "WMTS"])
    operation = asked.required("REQUEST")
    if operation.lower() in ("getcapabilities", "capabilities"):
        address = f"{base_url(request)}/wms?"
        return xml_response(wms.capabilities(service, address, version), wms.CAPABILITIES_TYPES[version])
    if operation.lower() not in ("getmap", "map"):
        raise OgcError(
            "OperationNotSupported",
            f"REQUEST={operation!r} is not served: use GetCapabilities or GetMap",
            "REQUEST",
        )
    wanted = wms.map_request(service, asked, version)
    picture = await run_in_threadpool(draw, endpoint, wanted)
    headers = {"Cache-Control": f"public, max-age={service.settings.max_age_s}"}
    return marked(endpoint, wanted.layer, Response(picture.body, 200, headers, MEDIA_TYPES[wanted.extension]))


async def _wmts(endpoint: TileEndpoint, request: Request) -> Response:
    """Answer a WMTS request.

    Raises:
        OgcError: a parameter is missing or not served.
        TileServerError: as `TileEndpoint.answer`.
    """
    asked, service = Parameters(request), endpoint.service
    if is_for_capabilities(asked):
        document = wmts.capabilities(service, base_url(request), service.rasters.layers)
        return xml_response(document, _XML)
    layer = asked.chosen("LAYER", service.rasters.layers)
    extension = wms.FORMATS[asked.chosen("FORMAT", wms.FORMATS)]
    grid = asked.chosen("TILEMATRIXSET", covering_views(service, layer))
    answer = await endpoint.answer(request, layer, grid, tile_address(asked), extension)
    return marked(endpoint, layer, answer)


def is_for_capabilities(asked: Parameters) -> bool:
    """Return whether a WMTS request asks for the capabilities; it asks for a tile otherwise.

    Raises:
        OgcError: it is for another service, or asks for something else.
    """
    if asked.get("SERVICE").upper() != "WMTS":
        asked.chosen("SERVICE", ["WMTS"])
    operation = asked.required("REQUEST")
    if operation.lower() not in ("getcapabilities", "gettile"):
        raise OgcError(
            "OperationNotSupported",
            f"REQUEST={operation!r} is not served: use GetCapabilities or GetTile",
            "REQUEST",
        )
    return operation.lower() == "getcapabilities"


def tile_address(asked: Parameters) -> TileAddress:
    """Return the tile that a WMTS request asks for.

    Raises:
        OgcError: a number is missing or malformed.
    """
    return TileAddress(asked.whole("TILEMATRIX"), asked.whole("TILECOL"), asked.whole("TILEROW"))


def marked(endpoint: TileEndpoint, layer: str, answer: Response) -> Response:
    """Add the AI notice to a picture of a layer, which here the path does not tell."""
    if layer in AI_LAYERS:
        answer.headers.setdefault(AI_HEADER, ai_header(endpoint.service))
    return answer
