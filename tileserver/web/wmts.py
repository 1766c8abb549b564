"""WMTS 1.0.0 capabilities (OGC 07-057r7), for clients that fill in addresses and those that send key-value pairs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from tileserver.attribution import credit, description, title
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TILE_PX
from tileserver.tiling.layer import supported_tms
from tileserver.web.grids import served_tiles
from tileserver.web.offers import Offer, OfferedGrid, offers_of

_WMTS: Final = "http://www.opengis.net/wmts/1.0"
_OWS: Final = "http://www.opengis.net/ows/1.1"
_XLINK: Final = "http://www.w3.org/1999/xlink"

for _prefix, _uri in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    ET.register_namespace(_prefix, _uri)


def capabilities(
    service: TileService, base_url: str, layers: Iterable[str], extension: Extension = "png"
) -> ET.Element:
    """Return the capabilities document of one map.

    Each layer has one format and one address: clients mix those of several (OpenLayers in one view, where JPEG has
    white in place of transparent pixels), or choose arbitrarily (OWSLib).

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash.
        layers: names of the layers.
        extension: format of the tiles; PNG is the one that every client reads, and it has transparency.
    """
    offers = offers_of(service, base_url, layers, extension)
    about = About(title(service), description(service, "restored"), credit(service))
    return document(about, offers, f"{base_url}/wmts?")


@dataclass(frozen=True)
class About:
    """What a document says of the whole service: title, abstract, and who has to be credited."""

    title: str
    abstract: str
    credit: str


def document(about: About, offers: Iterable[Offer], kvp_address: str | None = None) -> ET.Element:
    """Return the capabilities document of any layers.

    Args:
        about: of the service.
        offers: the layers.
        kvp_address: where key-value pairs are answered, ending in `?`; None if tiles have addresses only.
    """
    root = ET.Element(f"{{{_WMTS}}}Capabilities", version="1.0.0")
    identification = ET.SubElement(root, f"{{{_OWS}}}ServiceIdentification")
    _text(identification, _OWS, "Title", about.title)
    _text(identification, _OWS, "Abstract", about.abstract)
    _text(identification, _OWS, "ServiceType", "OGC WMTS")
    _text(identification, _OWS, "ServiceTypeVersion", "1.0.0")
    _text(identification, _OWS, "Fees", "NONE")
    _text(identification, _OWS, "AccessConstraints", about.credit or "NONE")
    if kvp_address:
        root.append(_operations(kvp_address))
    contents = ET.SubElement(root, f"{{{_WMTS}}}Contents")
    grids: dict[str, OfferedGrid] = {}
    for offer in offers:
        contents.append(_layer(offer))
        for name, offered in offer.grids.items():
            grids[name] = _joined(grids.get(name), offered)
    for name, offered in grids.items():
        contents.append(_matrix_set(name, offered))
    if kvp_address:
        address = f"{kvp_address}SERVICE=WMTS&REQUEST=GetCapabilities"
        ET.SubElement(root, f"{{{_WMTS}}}ServiceMetadataURL", {f"{{{_XLINK}}}href": address})
    return root


def _joined(one: OfferedGrid | None, other: OfferedGrid) -> OfferedGrid:
    """Return a grid with the zooms of both, since a document defines each tile matrix set once."""
    if one is None:
        return other
    zooms = range(min(one.zooms.start, other.zooms.start), max(one.zooms.stop, other.zooms.stop))
    return replace(one, zooms=zooms)


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


def _layer(offer: Offer) -> ET.Element:
    element = ET.Element(f"{{{_WMTS}}}Layer")
    _text(element, _OWS, "Title", offer.title)
    _text(element, _OWS, "Abstract", offer.abstract)
    west, south, east, north = offer.bounds_lonlat
    box = ET.SubElement(element, f"{{{_OWS}}}WGS84BoundingBox", crs="urn:ogc:def:crs:OGC:2:84")
    _text(box, _OWS, "LowerCorner", f"{west} {south}")
    _text(box, _OWS, "UpperCorner", f"{east} {north}")
    _text(element, _OWS, "Identifier", offer.identifier)
    style = ET.SubElement(element, f"{{{_WMTS}}}Style", isDefault="true")
    _text(style, _OWS, "Identifier", "default")
    media_type = MEDIA_TYPES[offer.extension]
    _text(element, _WMTS, "Format", media_type)
    for name, offered in offer.grids.items():
        link = ET.SubElement(element, f"{{{_WMTS}}}TileMatrixSetLink")
        _text(link, _WMTS, "TileMatrixSet", name)
        link.append(_limits(offered))
    attributes = {"format": media_type, "resourceType": "tile", "template": offer.template}
    ET.SubElement(element, f"{{{_WMTS}}}ResourceURL", attributes)
    return element


def _limits(offered: OfferedGrid) -> ET.Element:
    """Return the range of rows and columns served at each zoom, so that clients request no others."""
    element = ET.Element(f"{{{_WMTS}}}TileMatrixSetLimits")
    for zoom in offered.zooms:
        tiles = served_tiles(offered.grid, offered.served, zoom)
        limits = ET.SubElement(element, f"{{{_WMTS}}}TileMatrixLimits")
        _text(limits, _WMTS, "TileMatrix", str(zoom))
        _text(limits, _WMTS, "MinTileRow", str(tiles.y))
        _text(limits, _WMTS, "MaxTileRow", str(tiles.bottom - 1))
        _text(limits, _WMTS, "MinTileCol", str(tiles.x))
        _text(limits, _WMTS, "MaxTileCol", str(tiles.right - 1))
    return element


def _matrix_set(name: str, offered: OfferedGrid) -> ET.Element:
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
    first, grid = tms.tileMatrices[0], offered.grid
    for zoom in offered.zooms:
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
