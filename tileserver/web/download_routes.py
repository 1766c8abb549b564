"""Routes of the files that open the map in other programs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tileserver.attribution import title
from tileserver.tiling.layer import Layer
from tileserver.web import downloads
from tileserver.web.forwarded import base_url
from tileserver.web.ogc import xml_response
from tileserver.web.tile_endpoint import TileEndpoint

_XML: Final = "application/xml"
_QLR: Final = "application/x-qgis-layer-definition+xml"
_QGS: Final = "application/x-qgis-project+xml"
_GEOJSON: Final = "application/geo+json"


def _answers(kind: str) -> dict[str, Any]:
    return {"response_class": Response, "responses": {200: {"content": {kind: {}}}}}


def download_routes(endpoint: TileEndpoint) -> APIRouter:
    """Return the routes of all layers and of the map."""
    router = APIRouter(tags=["files for other programs"])
    service = endpoint.service

    @router.get("/project.qgs", **_answers(_QGS))
    def project(request: Request) -> Response:
        """Return a QGIS project with all layers."""
        document = downloads.qgis_project(service, base_url(request))
        return _file(document, _QGS, f"{title(service)}.qgs")

    @router.get("/item.json", **_answers(_GEOJSON))
    def item(request: Request) -> Response:
        """Return a STAC item of the map."""
        return JSONResponse(downloads.stac_item(service, base_url(request)), media_type=_GEOJSON)

    for layer in service.rasters.layers:
        _add_layer(router, endpoint, layer)
    return router


def _add_layer(router: APIRouter, endpoint: TileEndpoint, layer: Layer) -> None:
    service = endpoint.service

    @router.get(f"/{layer}/layer.qlr", **_answers(_QLR))
    def layer_definition(request: Request) -> Response:
        """Return a QGIS layer definition, with the zooms that are served."""
        document = downloads.qgis_layers(service, base_url(request), layer)
        return _file(document, _QLR, f"{title(service)} {layer}.qlr")

    @router.get(f"/{layer}/gdal_wms.xml", **_answers(_XML))
    def gdal(request: Request) -> Response:
        """Return a description of the tiles for GDAL."""
        document = downloads.gdal_wms(service, base_url(request), layer)
        # GDAL recognises the file by its first bytes, so it has no XML declaration.
        return Response(ET.tostring(document), media_type=_XML)

    @router.get(f"/{layer}/josm.xml", **_answers(_XML))
    def josm(request: Request) -> Response:
        """Return an imagery entry for JOSM."""
        return xml_response(downloads.josm_imagery(service, base_url(request), layer), _XML)

    @router.get(f"/{layer}/imagery.geojson", **_answers(_GEOJSON))
    def imagery(request: Request) -> Response:
        """Return an imagery entry for iD and the Editor Layer Index."""
        content = downloads.imagery_feature(service, base_url(request), layer)
        return JSONResponse(content, media_type=_GEOJSON)


def _file(document: ET.Element, media_type: str, name: str) -> Response:
    safe = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"'}
    return xml_response(document, media_type, headers=headers)
