"""Routes of the OGC APIs: landing page, conformance, collections, maps and tile matrix sets."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Query
from rasterio.crs import CRS
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tileserver.attribution import title
from tileserver.errors import BadParameterError
from tileserver.photo.pixel_size import WGS84
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import WEB_MERCATOR, Layer
from tileserver.web import ogc_api
from tileserver.web.accept import preferred
from tileserver.web.crs import named_crs
from tileserver.web.documents import DOCUMENT, DocumentFormat, document
from tileserver.web.forwarded import base_url
from tileserver.web.kvp import marked
from tileserver.web.pictures import Colour, PictureRequest, draw
from tileserver.web.tile_endpoint import TileEndpoint, checked_extension
from tileserver.web.wms import begins_with_north

_COLOUR: Final = re.compile(r"(?:0x|#)?([0-9A-Fa-f]{6})")
# Longest side of a map whose size is not given.
_MAP_PX: Final = 1024
_IMAGES: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
}


def ogc_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return the routes that do not belong to one layer's own address."""
    router = APIRouter(tags=["OGC API"])
    service = endpoint.service

    @router.get("/conformance", **DOCUMENT)
    def conformance(request: Request, f: DocumentFormat = None) -> Response:
        """List the parts of standards that are obeyed."""
        return document(request, f, "Standards", ogc_api.conformance())

    @router.get("/collections", **DOCUMENT)
    def collections(request: Request, f: DocumentFormat = None) -> Response:
        """List the layers."""
        return document(request, f, title(service), ogc_api.collections(service, base_url(request)))

    @router.get("/collections/{layer}", **DOCUMENT)
    def collection(request: Request, layer: str, f: DocumentFormat = None) -> Response:
        """Describe a layer."""
        return document(request, f, layer, ogc_api.collection(service, base_url(request), layer))

    @router.get("/collections/{layer}/map", **_IMAGES)
    @router.get("/{layer}/map", **_IMAGES)  # as titiler has it
    def collection_map(
        request: Request,
        layer: str,
        bbox: Annotated[str | None, Query(max_length=200)] = None,
        bbox_crs: Annotated[str | None, Query(alias="bbox-crs", max_length=100)] = None,
        crs: Annotated[str | None, Query(max_length=100)] = None,
        width: int | None = None,
        height: int | None = None,
        transparent: bool = True,
        bgcolor: Annotated[str | None, Query(max_length=10)] = None,
        f: str | None = None,
    ) -> Response:
        """Draw a picture of a layer, by default of all of it."""
        source = service.rasters.view(layer, WEB_MERCATOR).source.info
        bounds_crs = named_crs(bbox_crs) or WGS84
        target = named_crs(crs) or ogc_api.own_crs(source.crs) or WGS84
        bounds = _bounds(bbox, bbox_crs) if bbox else service.rasters.view(layer, WEB_MERCATOR).bounds_lonlat
        extension = picture_format(request, f)
        wanted = PictureRequest(
            layer=cast("Layer", layer),
            crs=target,
            bounds=bounds,
            bounds_crs=bounds_crs if bbox else WGS84,
            width=width,
            height=height,
            extension=extension,
            background=_background(bgcolor, transparent=transparent and extension != "jpg"),
            max_size=min(_MAP_PX, service.settings.max_image_px),
        )
        picture = draw(endpoint, wanted)
        shown, uri = picture.bounds, ogc_api.crs_uri(target)
        if target == WGS84 and (not crs or "CRS84" in crs.upper()):
            uri = ogc_api.CRS84
        elif _is_north_first(target):
            shown = BBox(shown.bottom, shown.left, shown.top, shown.right)
        headers = {
            "Cache-Control": f"public, max-age={service.settings.max_age_s}",
            "Content-Bbox": ",".join(map(repr, shown)),
            **({"Content-Crs": f"<{uri}>"} if uri else {}),
            "Vary": "Accept",
        }
        return marked(endpoint, layer, Response(picture.body, 200, headers, MEDIA_TYPES[extension]))

    @router.get("/tileMatrixSets", **DOCUMENT)
    def tile_matrix_sets(request: Request, f: DocumentFormat = None) -> Response:
        """List the tile matrix sets."""
        return document(request, f, "Tile matrix sets", ogc_api.tile_matrix_sets(base_url(request)))

    @router.get("/tileMatrixSets/{tileMatrixSetId}", **DOCUMENT)
    def tile_matrix_set(
        request: Request,
        tileMatrixSetId: str,  # noqa: N803
        f: DocumentFormat = None,
    ) -> Response:
        """Define a tile matrix set."""
        return document(request, f, tileMatrixSetId, ogc_api.tile_matrix_set(tileMatrixSetId))

    return router


def landing_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return the landing page at the root of the router that includes these routes, always as JSON."""
    router = APIRouter(tags=["OGC API"])

    @router.get("")
    @router.get("/", include_in_schema=False)
    def landing(request: Request) -> JSONResponse:
        """Return the landing page of the OGC API, for programs that do not say that they want JSON."""
        return JSONResponse(ogc_api.landing(endpoint.service, base_url(request)))

    return router


def picture_format(request: Request, form: str | None) -> Extension:
    """Return the format of a picture: by the parameter `f`, or else by Accept; PNG for those who accept anything.

    Raises:
        OutsideError: `f` is not a format.
    """
    if form:
        return checked_extension(form)
    found = preferred(request.headers.get("accept", ""), list(MEDIA_TYPES.values()))
    return next((extension for extension, kind in MEDIA_TYPES.items() if kind == found), "png")


def _is_north_first(crs: CRS) -> bool:
    code = crs.to_epsg()
    return bool(code) and begins_with_north(f"EPSG:{code}")


def _bounds(text: str, code: str | None) -> BBox:
    """Return a bbox of four numbers, or of six with heights, in the axis order of its CRS, as x before y."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise BadParameterError("bbox is not minx,miny,maxx,maxy in the axis order of its CRS")
    found = named_crs(code)
    if code and found and "CRS84" not in code.upper() and _is_north_first(found):
        numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
    return BBox(*numbers)


def _background(text: str | None, *, transparent: bool) -> Colour | None:
    if transparent and text is None:
        return None
    found = _COLOUR.fullmatch(text or "FFFFFF")
    if found is None:
        raise BadParameterError("bgcolor is not a colour such as 0xFFFFFF")
    red, green, blue = bytes.fromhex(found[1])
    return red, green, blue
