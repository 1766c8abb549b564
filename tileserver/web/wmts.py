"""WMTS 1.0.0 capabilities (OGC 07-057r7) of one layer, for RESTful clients such as QGIS and ArcGIS."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Final

from tileserver.attribution import AI_LAYERS, ai_notice, credit, title
from tileserver.errors import OutsideError
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES
from tileserver.tiling.grid import TILE_PX
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms
from tileserver.web.tilejson import tile_path

_WMTS: Final = "http://www.opengis.net/wmts/1.0"
_OWS: Final = "http://www.opengis.net/ows/1.1"
_XLINK: Final = "http://www.w3.org/1999/xlink"

for _prefix, _uri in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    ET.register_namespace(_prefix, _uri)


def capabilities(service: TileService, base_url: str, layer: str, tms_names: list[str]) -> bytes:
    """Return the capabilities document as UTF-8 XML.

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash.
        layer: name of the layer.
        tms_names: identifiers of tile matrix sets; those that do not cover the photograph are left out.
    """
    root = ET.Element(f"{{{_WMTS}}}Capabilities", version="1.0.0")
    identification = ET.SubElement(root, f"{{{_OWS}}}ServiceIdentification")
    _text(identification, _OWS, "Title", title(service))
    _text(identification, _OWS, "ServiceType", "OGC WMTS")
    _text(identification, _OWS, "ServiceTypeVersion", "1.0.0")
    _text(identification, _OWS, "AccessConstraints", credit(service) or "NONE")
    contents = ET.SubElement(root, f"{{{_WMTS}}}Contents")
    views = {}
    # GDAL and QGIS use the first set by default.
    for name in sorted(tms_names, key=lambda name: (name != WEB_MERCATOR, name)):
        try:
            views[name] = service.rasters.view(layer, name)
        except OutsideError:
            continue
    contents.append(_layer(service, base_url, layer, views))
    for name, view in views.items():
        contents.append(_matrix_set(name, view))
    address = f"{base_url}/{layer}/WMTSCapabilities.xml"
    ET.SubElement(root, f"{{{_WMTS}}}ServiceMetadataURL", {f"{{{_XLINK}}}href": address})
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _layer(service: TileService, base_url: str, layer: str, views: dict[str, View]) -> ET.Element:
    element = ET.Element(f"{{{_WMTS}}}Layer")
    _text(element, _OWS, "Title", f"{title(service)}: {layer}")
    notes = [credit(service)] + ([ai_notice(service)] if layer in AI_LAYERS else [])
    _text(element, _OWS, "Abstract", " | ".join(filter(None, notes)))
    west, south, east, north = next(iter(views.values())).bounds_lonlat
    box = ET.SubElement(element, f"{{{_OWS}}}WGS84BoundingBox", crs="urn:ogc:def:crs:OGC:2:84")
    _text(box, _OWS, "LowerCorner", f"{west} {south}")
    _text(box, _OWS, "UpperCorner", f"{east} {north}")
    _text(element, _OWS, "Identifier", layer)
    style = ET.SubElement(element, f"{{{_WMTS}}}Style", isDefault="true")
    _text(style, _OWS, "Identifier", "default")
    for media_type in MEDIA_TYPES.values():
        _text(element, _WMTS, "Format", media_type)
    for name, view in views.items():
        link = ET.SubElement(element, f"{{{_WMTS}}}TileMatrixSetLink")
        _text(link, _WMTS, "TileMatrixSet", name)
        link.append(_limits(view))
    for extension, media_type in MEDIA_TYPES.items():
        template = tile_path(layer, "{TileMatrixSet}", extension)
        for xyz, wmts in (("{z}", "{TileMatrix}"), ("{x}", "{TileCol}"), ("{y}", "{TileRow}")):
            template = template.replace(xyz, wmts)
        attributes = {"format": media_type, "resourceType": "tile", "template": base_url + template}
        ET.SubElement(element, f"{{{_WMTS}}}ResourceURL", attributes)
    return element


def _limits(view: View) -> ET.Element:
    """Return the range of rows and columns served at each zoom, so that clients request no others."""
    element = ET.Element(f"{{{_WMTS}}}TileMatrixSetLimits")
    for zoom in _zooms(view):
        tiles = view.pyramid.grid.covering(zoom, view.pyramid.served).aligned(TILE_PX).scaled_down(TILE_PX)
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
