"""WMS 1.1.1 and 1.3.0 (OGC 01-068r3, 06-042): a layer, asked for in tiles of a grid of our own."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin

from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from tileserver.errors import SourceError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.services.address import EDITION, ServiceAddress, query_of, with_query
from tileserver.photo.inputs.services.client import PoliteClient
from tileserver.photo.inputs.services.documents import (
    attribute,
    children,
    choose,
    credit_and_terms,
    crs_of,
    fetch_document,
    find,
    listed,
    name_of,
    text,
)
from tileserver.photo.inputs.services.formats import choose_format
from tileserver.photo.inputs.services.levels import (
    PIXEL_M,
    Level,
    ServiceLayer,
    TileRange,
    first_axis_is_north,
    is_mercator,
    is_worldwide,
    metres_per_unit,
)
from tileserver.photo.pixel_size import WGS84, horizontal_crs
from tileserver.tiling.grid import BBox

_TILE_PX: Final = 512
# Pixel size that is tried first where none is given, in metres: finer than almost any photograph from the air.
_FINEST_M: Final = 0.05
# Overviews are at most so many times coarser than the finest pixels.
_OCTAVES: Final = 20
_OWN_KEYS: Final = {"layer", "style", "format", "crs", EDITION}
_PROTOCOL: Final = {"service", "request", "version", "bbox", "width", "height", "transparent", *_OWN_KEYS}


def open_wms(
    address: ServiceAddress,
    client: PoliteClient,
    crs: CRS | None,
    gsd_m: float | None,
    lonlat: BBox | None,
) -> ServiceLayer:
    """Read the capabilities and choose layer, style, format and CRS.

    Args:
        address: the service; its keys choose.
        client: asks for the capabilities.
        crs: CRS to ask for; None to choose one.
        gsd_m: pixel size in metres; None for many, of which one has to be chosen.
        lonlat: ground that is shown, in degrees; None for all of it.

    Raises:
        SourceError: the service cannot be reached or is something else, or lacks what is named.
    """
    url = with_query(address.url, SERVICE="WMS", REQUEST="GetCapabilities")
    root = fetch_document(client, url, ("WMS_Capabilities", "WMT_MS_Capabilities"), "WMS")
    request = find(root, "Capability", "Request", "GetMap")
    asked = query_of(address.url) | address.keys
    found = {text(chain[-1], "Name"): chain for chain in _named(find(root, "Capability", "Layer"), ())}
    name, chain = choose(found, asked.get("layer"), address.shown, "layer")
    where = f"layer {name} of {address.shown}"
    unknown = sorted(address.keys.keys() - _OWN_KEYS - _dimensions(chain))
    if unknown:
        usable = listed(sorted(_OWN_KEYS | _dimensions(chain)))
        raise SourceError(f"{where} has no {unknown[0]!r}: the keys after its address are {usable}")
    image = choose_format([text(one) for one in children(request, "Format")], asked.get("format"), where)
    version = root.get("version") or "1.1.1"
    code, chosen = _choose_crs(chain, crs or crs_of(asked.get("crs", "")), where)
    is_new = version >= "1.3"
    bounds = _bounds(chain, code, chosen, lonlat, new=is_new, where=where)
    dimensions = {key: value for key, value in address.keys.items() if key not in _OWN_KEYS}
    parameters = {
        "SERVICE": "WMS",
        "REQUEST": "GetMap",
        "VERSION": version,
        "LAYERS": name,
        "STYLES": asked.get("style", ""),
        "CRS" if is_new else "SRS": code,
        "FORMAT": image.name,
        "TRANSPARENT": "FALSE" if image.warnings else "TRUE",
        **{key.upper(): value for key, value in dimensions.items()},
    }
    own = {key: value for key, value in query_of(address.url).items() if key not in _PROTOCOL}
    href = attribute(find(request, "DCPType", "HTTP", "Get", "OnlineResource"), "href")
    base = with_query(urljoin(address.url, href) if href else address.url, **own, **parameters)
    flipped = is_new and first_axis_is_north(chosen) and code.upper().startswith("EPSG:")
    tile_px = _tile_px(find(root, "Service"))
    draft = ServiceLayer("", "", (), chosen, bounds, (), "")
    finest = (gsd_m or _FINEST_M) / draft.gsd_m(_level(1.0, bounds, (1, 1), lambda _x, _y: ""))
    least, most = _scales(chain, chosen)
    coarsest = finest * 2**_OCTAVES
    left, top = math.floor(bounds.left / coarsest) * coarsest, math.ceil(bounds.top / coarsest) * coarsest
    levels = []
    for octave in range(_OCTAVES):
        cell = finest * 2**octave
        if least <= cell <= most or (gsd_m and octave == 0):

            def url_of(column: int, row: int, cell_: float = cell) -> str:
                side_x, side_y = tile_px[0] * cell_, tile_px[1] * cell_
                box = [left + column * side_x, top - (row + 1) * side_y]
                box += [box[0] + side_x, box[1] + side_y]
                order = [box[i] for i in ((1, 0, 3, 2) if flipped else (0, 1, 2, 3))]
                size = {"WIDTH": str(tile_px[0]), "HEIGHT": str(tile_px[1])}
                return with_query(base, BBOX=",".join(map(repr, order)), **size)

            levels.append(_level(cell, bounds, tile_px, url_of, left, top))
    if not levels:
        raise SourceError(
            f"{where} is shown at no scale: name its pixel size with --source-pixel-size METRES"
        )
    credit, terms = _credit(root, chain)
    return ServiceLayer(
        title=text(chain[-1], "Title") or name,
        credit=credit,
        terms=terms,
        crs=chosen,
        bounds=bounds,
        levels=tuple(levels),
        identity=repr([name, parameters["STYLES"], image.name, code, sorted(dimensions.items())]),
        warnings=image.warnings,
    )


def _named(layer: ET.Element | None, above: tuple[ET.Element, ...]) -> Iterator[tuple[ET.Element, ...]]:
    """The layers that have a name, each with those it is in, which it inherits from."""
    if layer is None:
        return
    chain = (*above, layer)
    if text(layer, "Name"):
        yield chain
    for child in children(layer, "Layer"):
        yield from _named(child, chain)


def _dimensions(chain: tuple[ET.Element, ...]) -> set[str]:
    found = {attribute(one, "name").lower() for layer in chain for one in children(layer, "Dimension")}
    # All but time and elevation are asked for with a prefix (06-042, C.3.2).
    return {name if name in ("time", "elevation") else f"dim_{name}" for name in found}


def _choose_crs(chain: tuple[ET.Element, ...], wanted: CRS | None, where: str) -> tuple[str, CRS]:
    boxes = [attribute(one, tag) for one in _boxes(chain) for tag in ("CRS", "SRS")]
    names = [
        code
        for layer in reversed(chain)
        for one in layer
        if name_of(one) in ("CRS", "SRS")
        for code in (one.text or "").split()
    ]
    known = {code: crs for code in dict.fromkeys([*boxes, *names]) if code and (crs := crs_of(code))}
    known = {code: horizontal_crs(crs) for code, crs in known.items()}
    if wanted is not None:
        fitting = [code for code, crs in known.items() if crs == wanted]
        if not fitting:
            raise SourceError(
                f"{where} is not offered in the CRS that is named: leave out --crs, or name one of {listed(known)}"
            )
        return fitting[0], known[fitting[0]]
    # A national CRS, in which photographs are flown and stored, before the web's, before degrees.
    ranked = sorted(known, key=lambda code: (is_worldwide(known[code]), not is_mercator(known[code])))
    if not ranked:
        raise SourceError(f"{where} has no CRS that PROJ knows: it has {listed(names)}")
    first = ranked[0]
    if first not in boxes and any(is_mercator(crs) for crs in known.values()):
        # A list of all CRSs that the program knows says nothing about the photograph.
        first = next(code for code in known if is_mercator(known[code]))
    return first, known[first]


def _boxes(chain: tuple[ET.Element, ...]) -> Iterator[ET.Element]:
    for layer in reversed(chain):
        yield from children(layer, "BoundingBox")


def _bounds(
    chain: tuple[ET.Element, ...], code: str, crs: CRS, lonlat: BBox | None, *, new: bool, where: str
) -> BBox:
    if lonlat is not None:
        # What the layer is said to cover may reach beyond the CRS: many servers state the whole world.
        with suppress(RasterioError), gdal_errors():
            wanted = BBox(*transform_bounds(WGS84, crs, *lonlat, densify_pts=21))
            stated = _stated(chain, code, crs, new=new)
            shared = stated.intersection(wanted) if stated else wanted
            if shared is not None:
                return shared
    found = _stated(chain, code, crs, new=new)
    if found is None:
        raise SourceError(
            f"{where} does not say where it lies in this CRS: name it with --source-bounds W,S,E,N in degrees"
        )
    return found


def _stated(chain: tuple[ET.Element, ...], code: str, crs: CRS, *, new: bool) -> BBox | None:
    """The ground that the capabilities state, in units of the CRS."""
    for one in _boxes(chain):
        if code in (attribute(one, "CRS"), attribute(one, "SRS")):
            values = _numbers([attribute(one, name) for name in ("minx", "miny", "maxx", "maxy")])
            if values:
                turned = new and first_axis_is_north(crs) and code.upper().startswith("EPSG:")
                return BBox(*(values[i] for i in ((1, 0, 3, 2) if turned else (0, 1, 2, 3))))
    for layer in reversed(chain):
        old = find(layer, "LatLonBoundingBox")
        if old is not None:
            values = _numbers([attribute(old, name) for name in ("minx", "miny", "maxx", "maxy")])
        else:
            edges = ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")
            values = _numbers([text(layer, "EX_GeographicBoundingBox", edge) for edge in edges])
        if values:
            try:
                with gdal_errors():
                    found = BBox(*transform_bounds(WGS84, crs, *values, densify_pts=21))
            except RasterioError:
                continue
            if all(map(math.isfinite, found)):
                return found
    return None


def _numbers(texts: list[str]) -> list[float] | None:
    try:
        values = [float(one) for one in texts]
    except ValueError:
        return None
    return (
        values
        if all(map(math.isfinite, values)) and values[0] < values[2] and values[1] < values[3]
        else None
    )


def _level(
    cell: float,
    bounds: BBox,
    tile_px: tuple[int, int],
    url: Callable[[int, int], str],
    left: float | None = None,
    top: float | None = None,
) -> Level:
    left, top = bounds.left if left is None else left, bounds.top if top is None else top
    width, height = (cell * side for side in tile_px)
    tiles = TileRange(
        math.floor((bounds.left - left) / width),
        math.floor((top - bounds.top) / height),
        math.ceil((bounds.right - left) / width),
        math.ceil((top - bounds.bottom) / height),
    )
    return Level(f"{cell:.6g}", cell, left, top, tile_px, tiles, url)


def _scales(chain: tuple[ET.Element, ...], crs: CRS) -> tuple[float, float]:
    """Finest and coarsest pixels that the layer is drawn at, in units of the CRS."""
    least, most = 0.0, math.inf
    for layer in chain:
        for name in ("MinScaleDenominator", "MaxScaleDenominator"):
            try:
                cell = float(text(layer, name)) * PIXEL_M / metres_per_unit(crs)
            except ValueError:
                continue
            least, most = (max(least, cell), most) if name.startswith("Min") else (least, min(most, cell))
        hint = find(layer, "ScaleHint")
        # Diagonals of a pixel in metres (01-068r3, 7.1.4.5.8).
        limits = _numbers([attribute(hint, "min"), "0", attribute(hint, "max"), "1"])
        if limits:
            scale = math.sqrt(2) * metres_per_unit(crs)
            least, most = max(least, limits[0] / scale), min(most, limits[2] / scale)
    return least, most


def _tile_px(service: ET.Element | None) -> tuple[int, int]:
    sides = []
    for name in ("MaxWidth", "MaxHeight"):
        stated = text(service, name)
        sides.append(min(_TILE_PX, int(stated)) if stated.isdecimal() and int(stated) > 0 else _TILE_PX)
    return sides[0], sides[1]


def _credit(root: ET.Element, chain: tuple[ET.Element, ...]) -> tuple[str, tuple[str, ...]]:
    service = find(root, "Service")
    stated = (text(layer, "Attribution", "Title") for layer in reversed(chain))
    owner = next(filter(None, stated), "") or text(
        service, "ContactInformation", "ContactPersonPrimary", "ContactOrganization"
    )
    return credit_and_terms(owner, text(service, "AccessConstraints"), text(service, "Fees"))
