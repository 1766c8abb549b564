"""Routes of the OGC services that are asked by key-value pairs: `/wmts?SERVICE=WMTS&REQUEST=GetTile&...`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tileserver.attribution import AI_LAYERS, ai_header
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress
from tileserver.web import wmts
from tileserver.web.forwarded import base_url
from tileserver.web.middleware import AI_HEADER
from tileserver.web.ogc import OgcError, Parameters, answered, xml_response
from tileserver.web.tile_endpoint import TileEndpoint

FORMATS: Final[dict[str, Extension]] = {
    **{media_type: extension for extension, media_type in MEDIA_TYPES.items()},
    "image/jpg": "jpg",
}
_XML: Final = "application/xml"
_ANSWERS: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {
        code: {"content": {kind: {} for kind in ("text/xml", _XML, *MEDIA_TYPES.values())}}
        for code in (200, 400, 404, 422, 500, 502, 503)
    },
}


def kvp_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return `/wmts`, for all layers of the map."""
    router = APIRouter()

    @router.get("/wmts", **_ANSWERS)
    async def wmts_by_kvp(request: Request) -> Response:
        return await answered(_wmts(endpoint, request), wmts.exception_report)

    return router


async def _wmts(endpoint: TileEndpoint, request: Request) -> Response:
    """Answer a WMTS request.

    Raises:
        OgcError: a parameter is missing or not served.
        TileServerError: as `TileEndpoint.answer`.
    """
    asked, service = Parameters(request), endpoint.service
    asked.chosen("SERVICE", ["WMTS"])
    operation = asked.required("REQUEST")
    if operation == "GetCapabilities":
        document = wmts.capabilities(service, base_url(request), service.rasters.layers)
        return xml_response(document, _XML)
    if operation != "GetTile":
        raise OgcError(
            "OperationNotSupported",
            f"REQUEST={operation!r} is not served: use GetCapabilities or GetTile",
            "REQUEST",
        )
    layer = asked.chosen("LAYER", service.rasters.layers)
    extension = FORMATS[asked.chosen("FORMAT", FORMATS)]
    grid = asked.chosen("TILEMATRIXSET", wmts.covering_views(service, layer))
    tile = TileAddress(asked.whole("TILEMATRIX"), asked.whole("TILECOL"), asked.whole("TILEROW"))
    answer = await endpoint.answer(request, layer, grid, tile, extension)
    return marked(endpoint, layer, answer)


def marked(endpoint: TileEndpoint, layer: str, answer: Response) -> Response:
    """Add the AI notice to a picture of a layer, which here the path does not tell."""
    if layer in AI_LAYERS:
        answer.headers.setdefault(AI_HEADER, ai_header(endpoint.service))
    return answer
