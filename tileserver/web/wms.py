"""WMS 1.1.1 and 1.3.0 (OGC 01-068r3, 06-042): capabilities, and what a GetMap request asks for.

Written here, since the extension of titiler opens what LAYERS names as a file, writes no OGC exceptions, bounds no
picture, and exchanges axes for EPSG:4326 alone. Pictures come from titiler's own way to them, `LayerReader.part`.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, cast

import pyproj
import pyproj.exceptions
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tileserver.attribution import credit, description, title
from tileserver.errors import BadParameterError
from tileserver.photo.pixel_size import WGS84
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import WEB_MERCATOR, Layer
from tileserver.web.crs import named_crs
from tileserver.web.ogc import OgcError, Parameters
from tileserver.web.pictures import PictureRequest

VERSIONS: Final = ("1.3.0", "1.1.1")
# What exceptions of each version are sent as.
XML_1_1_1: Final = ("application/vnd.ogc.wms_xml", "application/vnd.ogc.se_xml")
CAPABILITIES_TYPES: Final = {"1.3.0": "text/xml", "1.1.1": XML_1_1_1[0]}
EXCEPTION_TYPES: Final = {"1.3.0": "text/xml", "1.1.1": XML_1_1_1[1]}
_WMS: Final = "http://www.opengis.net/wms"
_OGC: Final = "http://www.opengis.net/ogc"
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_TYPE: Final = "{http://www.w3.org/1999/xlink}type"
_COLOUR: Final = re.compile(r"(?:0x|#)([0-9A-Fa-f]{6})")
_CRS84: Final = "CRS:84"
_EVERYWHERE: Final = ("EPSG:3857", "EPSG:4326")
FORMATS: Final[dict[str, Extension]] = {
    **{media_type: extension for extension, media_type in MEDIA_TYPES.items()},
    "image/jpg": "jpg",
}


def version_of(asked: Parameters) -> str:
    """Return the version to answer with: the highest that is no higher than the one asked for (06-042, 6.2.4)."""
    wanted = asked.get("VERSION") or asked.get("WMTVER") or VERSIONS[0]
    return next((version for version in VERSIONS if wanted >= version), VERSIONS[-1])


def map_request(service: TileService, asked: Parameters, version: str) -> PictureRequest:
    """Return what a GetMap request asks for.

    Raises:
        OgcError: a parameter is missing or not served.
    """
    if asked.get("STYLES").strip(",") not in ("", "default"):
        raise OgcError("StyleNotDefined", "layers have one style: leave STYLES empty", "STYLES")
    layer = cast("Layer", asked.chosen("LAYERS", service.rasters.layers, "LayerNotDefined"))
    extension = FORMATS[asked.chosen("FORMAT", FORMATS, "InvalidFormat")]
    name = "CRS" if version == "1.3.0" else "SRS"
    code = asked.required(name).upper()
    try:
        crs = WGS84 if code == _CRS84 else named_crs(code)
    except BadParameterError as error:
        raise OgcError("InvalidCRS" if name == "CRS" else "InvalidSRS", str(error), name) from error
    assert crs is not None
    width, height = asked.whole("WIDTH"), asked.whole("HEIGHT")
    limit = service.settings.max_image_px
    if not (1 <= width <= limit and 1 <= height <= limit):
        raise OgcError(
            "InvalidParameterValue",
            f"a picture has 1 to {limit} pixels on each side: ask for a smaller one",
            "WIDTH",
        )
    bounds = _bounds(asked.required("BBOX"), is_swapped=version == "1.3.0" and begins_with_north(code))
    return PictureRequest(layer, crs, bounds, crs, width, height, extension, _background(asked, extension))


def _bounds(text: str, *, is_swapped: bool) -> BBox:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 4 and is_swapped:
        numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
    if (
        len(numbers) != 4
        or not all(map(math.isfinite, numbers))
        or not (numbers[0] < numbers[2] and numbers[1] < numbers[3])
    ):
        raise OgcError(
            "InvalidParameterValue", "BBOX is not minx,miny,maxx,maxy in the axis order of the CRS", "BBOX"
        )
    return BBox(*numbers)


def _background(asked: Parameters, extension: Extension) -> tuple[int, int, int] | None:
    if asked.get("TRANSPARENT").upper() == "TRUE" and extension != "jpg":
        return None
    found = _COLOUR.fullmatch(asked.get("BGCOLOR", "0xFFFFFF"))
    if found is None:
        raise OgcError("InvalidParameterValue", "BGCOLOR is not a colour such as 0xFFFFFF", "BGCOLOR")
    red, green, blue = bytes.fromhex(found[1])
    return red, green, blue


@lru_cache(256)
def begins_with_north(code: str) -> bool:
    """Return whether the first axis of a CRS points north and the second one east, as BBOX of 1.3.0 has them.

    Args:
        code: authority and code, such as EPSG:4326.
    """
    if code == _CRS84:
        return False
    try:
        axes = [axis.direction for axis in pyproj.CRS.from_user_input(code).axis_info[:2]]
    except pyproj.exceptions.CRSError:
        return False
    return axes == ["north", "east"]


def capabilities(service: TileService, address: str, version: str) -> ET.Element:
    """Return the capabilities document.

    Args:
        service: the map's tiles.
        address: URL of the service as its clients see it, with the question mark at its end.
        version: 1.3.0 or 1.1.1.
    """
    is_new = version == "1.3.0"
    root = ET.Element(
        "WMS_Capabilities" if is_new else "WMT_MS_Capabilities",
        {"version": version} | ({"xmlns": _WMS} if is_new else {}),
    )
    about = ET.SubElement(root, "Service")
    limit = service.settings.max_image_px
    limits = {"LayerLimit": "1", "MaxWidth": str(limit), "MaxHeight": str(limit)} if is_new else {}
    for name, text in {
        "Name": "WMS" if is_new else "OGC:WMS",
        "Title": title(service),
        "Abstract": description(service, "restored"),
        "OnlineResource": "",
        "Fees": "none",
        "AccessConstraints": credit(service) or "none",
        **limits,
    }.items():
        found = _text(about, name, text)
        if name == "OnlineResource":
            _link(found, address)
    capability = ET.SubElement(root, "Capability")
    requests = ET.SubElement(capability, "Request")
    _operation(requests, "GetCapabilities", address, [CAPABILITIES_TYPES[version]])
    _operation(requests, "GetMap", address, MEDIA_TYPES.values())
    _text(ET.SubElement(capability, "Exception"), "Format", "XML" if is_new else EXCEPTION_TYPES[version])
    parent = ET.SubElement(capability, "Layer")
    _text(parent, "Title", title(service))
    for layer in service.rasters.layers:
        parent.append(_layer(service, layer, version))
    return root


def exception_report(version: str, code: str, message: str, locator: str = "") -> ET.Element:
    """Return a service exception report of a version."""
    if version == "1.3.0":
        root = ET.Element("ServiceExceptionReport", version=version, xmlns=_OGC)
    else:
        root = ET.Element("ServiceExceptionReport", version=version)
    attributes = {"code": code} | ({"locator": locator} if locator and version == "1.3.0" else {})
    _text(root, "ServiceException", message).attrib.update(attributes)
    return root


def _layer(service: TileService, layer: str, version: str) -> ET.Element:
    source = service.new if layer == "new" and service.new else service.old
    view = service.rasters.view(layer, WEB_MERCATOR)
    element = ET.Element("Layer", queryable="0", opaque="0")
    _text(element, "Name", layer)
    _text(element, "Title", f"{title(service)}: {layer}")
    _text(element, "Abstract", description(service, layer))
    own = source.info.crs.to_epsg()
    codes = list(dict.fromkeys([*_EVERYWHERE, *([f"EPSG:{own}"] if own else [])]))
    name = "CRS" if version == "1.3.0" else "SRS"
    for code in [*codes, *([_CRS84] if name == "CRS" else [])]:
        _text(element, name, code)
    west, south, east, north = view.bounds_lonlat
    if name == "CRS":
        box = ET.SubElement(element, "EX_GeographicBoundingBox")
        sides = {
            "westBoundLongitude": west,
            "eastBoundLongitude": east,
            "southBoundLatitude": south,
            "northBoundLatitude": north,
        }
        for side, degrees in sides.items():
            _text(box, side, repr(degrees))
        _box(element, name, _CRS84, BBox(west, south, east, north))
    else:
        ET.SubElement(element, "LatLonBoundingBox", _corners(BBox(west, south, east, north)))
    for code in codes:
        bounds = transform_bounds(WGS84, CRS.from_string(code), west, south, east, north, densify_pts=21)
        box_of = BBox(*bounds)
        if name == "CRS" and begins_with_north(code):
            box_of = BBox(box_of.bottom, box_of.left, box_of.top, box_of.right)
        _box(element, name, code, box_of)
    if credit(service):
        _text(ET.SubElement(element, "Attribution"), "Title", credit(service))
    style = ET.SubElement(element, "Style")
    _text(style, "Name", "default")
    _text(style, "Title", "default")
    return element


def _corners(box: BBox) -> dict[str, str]:
    return {name: repr(value) for name, value in zip(("minx", "miny", "maxx", "maxy"), box, strict=True)}


def _box(parent: ET.Element, name: str, code: str, box: BBox) -> None:
    ET.SubElement(parent, "BoundingBox", {name: code} | _corners(box))


def _operation(parent: ET.Element, name: str, address: str, formats: Iterable[str]) -> None:
    operation = ET.SubElement(parent, name)
    for kind in formats:
        _text(operation, "Format", kind)
    http = ET.SubElement(ET.SubElement(operation, "DCPType"), "HTTP")
    _link(ET.SubElement(ET.SubElement(http, "Get"), "OnlineResource"), address)


def _link(element: ET.Element, address: str) -> None:
    element.set(_TYPE, "simple")
    element.set(_HREF, address)


def _text(parent: ET.Element, name: str, text: str) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = text
    return element
