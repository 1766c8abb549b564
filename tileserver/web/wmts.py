"""WMTS 1.0.0 capabilities (OGC 07-057r7), for clients that fill in addresses and those that send key-value pairs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Final

from tileserver.attribution import credit, description, title
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TILE_PX
from tileserver.tiling.layer import supported_tms
from tileserver.web.grids import covering_views, served_tiles
from tileserver.web.tilejson import tile_path

_WMTS: Final = "http://www.opengis.net/wmts/1.0"
_OWS: Final = "http://www.opengis.net/ows/1.1"
_XLINK: Final = "http://www.w3.org/1999/xlink"

for _prefix, _uri in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    ET.register_namespace(_prefix, _uri)


def capabilities(
    service: TileService, base_url: str, layers: Iterable[str], extension: Extension = "png"
) -> ET.Element:
    """Return the capabilities document.

    Each layer has one format and one address: clients mix those of several (OpenLayers in one view, where JPEG has
    white in place of transparent pixels), or choose arbitrarily (OWSLib).

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash.
        layers: names of the layers.
        extension: format of the tiles; PNG is the one that every client reads, and it has transparency.
    """
    root = ET.Element(f"{{{_WMTS}}}Capabilities", version="1.0.0")
    identification = ET.SubElement(root, f"{{{_OWS}}}ServiceIdentification")
    _text(identification, _OWS, "Title", title(service))
    _text(identification, _OWS, "Abstract", description(service, "restored"))
    _text(identification, _OWS, "ServiceType", "OGC WMTS")
    _text(identification, _OWS, "ServiceTypeVersion", "1.0.0")
    _text(identification, _OWS, "Fees", "NONE")
    _text(identification, _OWS, "AccessConstraints", credit(service) or "NONE")
    root.append(_operations(f"{base_url}/wmts?"))
    contents = ET.SubElement(root, f"{{{_WMTS}}}Contents")
    views: dict[str, View] = {}
    for layer in layers:
        covered = covering_views(service, layer)
        contents.append(_layer(service, base_url, layer, covered, extension))
        views = {**covered, **views}
    for name, view in views.items():
        contents.append(_matrix_set(name, view))
    address = f"{base_url}/wmts?SERVICE=WMTS&REQUEST=GetCapabilities"
    ET.SubElement(root, f"{{{_WMTS}}}ServiceMetadataURL", {f"{{{_XLINK}}}href": address})
    return root


def exception_report(code: str, message: str, locator: str = "") -> ET.Element:
    """Return an exception report (OGC 06-121r3, section 8)."""
    root = ET.Element(f"{{{_OWS}}}ExceptionReport", version="1.1.0")
    attributes = {"exceptionCode": code} | ({"locator": locator} if locator else {})
    _text(ET.SubElement(root, f"{{{_OWS}}}Exception", attributes), _OWS, "ExceptionText", message)
    return root


def _operations(address: str) -> ET.Element:
    element = ET.Element(f"{{{_OWS}}}OperationsMetadata")
    for name in ("GetCapabilities", "GetTile"):
        operation = ET.SubElement(element, f"{{{_OWS}}}Operation", name=name)
        http = ET.SubElement(ET.SubElement(operation, f"{{{_OWS}}}DCP"), f"{{{_OWS}}}HTTP")
        get = ET.SubElement(http, f"{{{_OWS}}}Get", {f"{{{_XLINK}}}href": address})
        constraint = ET.SubElement(get, f"{{{_OWS}}}Constraint", name="GetEncoding")
        _text(ET.SubElement(constraint, f"{{{_OWS}}}AllowedValues"), _OWS, "Value", "KVP")
    return element


def _layer(
    service: TileService, base_url: str, layer: str, views: dict[str, View], extension: Extension
) -> ET.Element:
    element = ET.Element(f"{{{_WMTS}}}Layer")
    _text(element, _OWS, "Title", f"{title(service)}: {layer}")
    _text(element, _OWS, "Abstract", description(service, layer))
    west, south, east, north = next(iter(views.values())).bounds_lonlat
    box = ET.SubElement(element, f"{{{_OWS}}}WGS84BoundingBox", crs="urn:ogc:def:crs:OGC:2:84")
    _text(box, _OWS, "LowerCorner", f"{west} {south}")
    _text(box, _OWS, "UpperCorner", f"{east} {north}")
    _text(element, _OWS, "Identifier", layer)
    style = ET.SubElement(element, f"{{{_WMTS}}}Style", isDefault="true")
    _text(style, _OWS, "Identifier", "default")
    _text(element, _WMTS, "Format", MEDIA_TYPES[extension])
    for name, view in views.items():
        link = ET.SubElement(element, f"{{{_WMTS}}}TileMatrixSetLink")
        _text(link, _WMTS, "TileMatrixSet", name)
        link.append(_limits(view))
    template = tile_path(layer, "{TileMatrixSet}", extension)
    for xyz, wmts in (("{z}", "{TileMatrix}"), ("{x}", "{TileCol}"), ("{y}", "{TileRow}")):
        template = template.replace(xyz, wmts)
    attributes = {"format": MEDIA_TYPES[extension], "resourceType": "tile", "template": base_url + template}
    ET.SubElement(element, f"{{{_WMTS}}}ResourceURL", attributes)
    return element


def _limits(view: View) -> ET.Element:
    """Return the range of rows and columns served at each zoom, so that clients request no others."""
    element = ET.Element(f"{{{_WMTS}}}TileMatrixSetLimits")
    for zoom in _zooms(view):
        tiles = served_tiles(view, zoom)
        limits = ET.SubElement(element, f"{{{_WMTS}}}TileMatrixLimits")
        _text(limits, _WMTS, "TileMatrix", str(zoom))
        _text(limits, _WMTS, "MinTileRow", str(tiles.y))
        _text(limits, _WMTS, "MaxTileRow", str(tiles.bottom - 1))
        _text(limits, _WMTS, "MinTileCol", str(tiles.x))
        _text(limits, _WMTS, "MaxTileCol", str(tiles.right - 1))
    return element


def _zooms(view: View) -> range:
    return range(view.pyramid.first_zoom, view.pyramid.max_zoom + 1)


def _matrix_set(name: str, view: View) -> ET.Element:
    element = ET.Element(f"{{{_WMTS}}}TileMatrixSet")
    _text(element, _OWS, "Identifier", name)
    tms = supported_tms().get(name)
    epsg = tms.crs.to_epsg()
    _text(
        element,
        _OWS,
        "SupportedCRS",
        f"urn:ogc:def:crs:EPSG::{epsg}" if epsg else "urn:ogc:def:crs:OGC::CRS84",
    )
    first, grid = tms.tileMatrices[0], view.pyramid.grid
    for zoom in _zooms(view):
        matrix = ET.SubElement(element, f"{{{_WMTS}}}TileMatrix")
        _text(matrix, _OWS, "Identifier", str(zoom))
        _text(matrix, _WMTS, "ScaleDenominator", repr(first.scaleDenominator / 2**zoom))
        # In the axis order of the CRS, as in both standards (OGC 17-083r4 and 07-057r7).
        _text(matrix, _WMTS, "TopLeftCorner", f"{first.pointOfOrigin[0]!r} {first.pointOfOrigin[1]!r}")
        _text(matrix, _WMTS, "TileWidth", str(TILE_PX))
        _text(matrix, _WMTS, "TileHeight", str(TILE_PX))
        _text(matrix, _WMTS, "MatrixWidth", str(grid.columns0 << zoom))
        _text(matrix, _WMTS, "MatrixHeight", str(grid.rows0 << zoom))
    return element


def _text(parent: ET.Element, namespace: str, name: str, text: str) -> None:
    ET.SubElement(parent, f"{{{namespace}}}{name}").text = text
