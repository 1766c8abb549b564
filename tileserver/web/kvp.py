"""Routes of the OGC services that are asked by key-value pairs: `/wmts?REQUEST=GetTile` and `/wms?REQUEST=GetMap`."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sr_model import PixelWindow
from tileserver.attribution import AI_LAYERS, ai_header
from tileserver.errors import OutsideError
from tileserver.tiling.encode import MEDIA_TYPES, encode
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.raster import Raster
from tileserver.web import wms, wmts
from tileserver.web.forwarded import base_url
from tileserver.web.layer_reader import LayerInput, LayerReader
from tileserver.web.middleware import AI_HEADER
from tileserver.web.offers import covering_views
from tileserver.web.ogc import OgcError, Parameters, answered, xml_response
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
    body = await run_in_threadpool(_draw, endpoint, wanted)
    headers = {"Cache-Control": f"public, max-age={service.settings.max_age_s}"}
    return marked(endpoint, wanted.layer, Response(body, 200, headers, MEDIA_TYPES[wanted.extension]))


def _draw(endpoint: TileEndpoint, wanted: wms.MapRequest) -> bytes:
    """Return the encoded picture; outside the photograph, a blank one, as WMS wants it."""
    window = PixelWindow(0, 0, wanted.width, wanted.height)
    size = {"width": wanted.width, "height": wanted.height}
    try:
        with endpoint.running, LayerReader(LayerInput(endpoint.service, wanted.layer)) as reader:
            image = reader.part(wanted.bounds, wanted.crs, wanted.crs, **size)
        raster = Raster(window, np.moveaxis(image.data, 0, 2), image.mask)
    except OutsideError:
        raster = Raster.blank(window)
    if wanted.background is not None:
        coloured = np.where(raster.mask[..., None] != 0, raster.rgb, np.array(wanted.background, np.uint8))
        raster = Raster(window, coloured, np.full_like(raster.mask, 255))
    return encode(raster, wanted.extension)


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
    extension = wms.FORMATS[asked.chosen("FORMAT", wms.FORMATS)]
    grid = asked.chosen("TILEMATRIXSET", covering_views(service, layer))
    tile = TileAddress(asked.whole("TILEMATRIX"), asked.whole("TILECOL"), asked.whole("TILEROW"))
    answer = await endpoint.answer(request, layer, grid, tile, extension)
    return marked(endpoint, layer, answer)


def marked(endpoint: TileEndpoint, layer: str, answer: Response) -> Response:
    """Add the AI notice to a picture of a layer, which here the path does not tell."""
    if layer in AI_LAYERS:
        answer.headers.setdefault(AI_HEADER, ai_header(endpoint.service))
    return answer
