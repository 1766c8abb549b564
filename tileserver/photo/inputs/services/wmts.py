"""WMTS 1.0.0 (OGC 07-057r7): a layer in one of its tile matrix sets, from the capabilities."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

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
    text,
)
from tileserver.photo.inputs.services.formats import choose_format
from tileserver.photo.inputs.services.levels import (
    MERCATOR_HALF_M,
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

_OWN_KEYS: Final = {"layer", "style", "format", "tilematrixset", EDITION}
_PROTOCOL: Final = {"service", "request", "version", *_OWN_KEYS}
# A national set up to so much coarser than the finest one is preferred: photographs are flown and stored in it.
_NEARLY_AS_FINE: Final = 1.5


@dataclass(frozen=True)
class _MatrixSet:
    """A tile matrix set that can be read."""

    name: str
    crs: CRS
    bounds: BBox
    levels: tuple[Level, ...]


def open_wmts(address: ServiceAddress, client: PoliteClient, crs: CRS | None) -> ServiceLayer:
    """Read the capabilities and choose layer, style, format and tile matrix set.

    Args:
        address: the service; its keys choose.
        client: asks for the capabilities.
        crs: CRS of the set; None to choose it.

    Raises:
        SourceError: the service cannot be reached or is something else, or lacks what is named.
    """
    url = address.url
    if not urlsplit(url).path.lower().endswith(".xml"):
        url = with_query(url, SERVICE="WMTS", REQUEST="GetCapabilities")
    root = fetch_document(client, url, ("Capabilities",), "WMTS")
    layers = {text(one, "Identifier"): one for one in children(find(root, "Contents"), "Layer")}
    asked = query_of(address.url)
    name, layer = choose(layers, address.keys.get("layer") or asked.get("layer"), address.shown, "layer")
    where = f"layer {name} of {address.shown}"
    style = _style(layer, address.keys.get("style"), where)
    formats = [text(one) for one in children(layer, "Format")]
    image = choose_format(formats, address.keys.get("format"), where)
    extra = _dimensions(layer, address, where)
    template = _template(root, layer, address, image.name, style, extra)
    sets = _sets(root, layer, template)
    chosen = _choose_set(sets, address.keys.get("tilematrixset"), crs, where)
    credit, terms = _credit(root)
    return ServiceLayer(
        title=text(layer, "Title") or name,
        credit=credit,
        terms=terms,
        crs=chosen.crs,
        bounds=chosen.bounds,
        levels=chosen.levels,
        identity=repr([name, style, image.name, chosen.name, sorted(extra.items())]),
        warnings=image.warnings,
    )


def _style(layer: ET.Element, wanted: str | None, where: str) -> str:
    styles = {text(one, "Identifier"): one for one in children(layer, "Style")}
    if wanted is None:
        default = [name for name, one in styles.items() if attribute(one, "isDefault") in ("true", "1")]
        return next(iter([*default, *styles]), "default")
    return choose(styles, wanted, where, "style")[0]


def _dimensions(layer: ET.Element, address: ServiceAddress, where: str) -> dict[str, str]:
    """Values of the dimensions, such as the year, by the names that the layer has for them."""
    known = {text(one, "Identifier"): one for one in children(layer, "Dimension")}
    given = {key: value for key, value in address.keys.items() if key not in _OWN_KEYS}
    unknown = given.keys() - {name.lower() for name in known}
    if unknown:
        usable = listed([*sorted(_OWN_KEYS), *(name.lower() for name in known)])
        raise SourceError(f"{where} has no {min(unknown)!r}: the keys after its address are {usable}")
    values = {}
    for name, one in known.items():
        offered = [text(value) for value in children(one, "Value")]
        value = given.get(name.lower()) or text(one, "Default") or (offered[-1] if offered else "")
        listed_only = offered and not any("/" in each for each in offered)  # ranges have slashes
        if listed_only and value not in (*offered, "current", text(one, "Default")):
            raise SourceError(f"{where} has no {name} {value!r}: it has {listed(offered)}")
        values[name] = value
    return values


def _template(
    root: ET.Element,
    layer: ET.Element,
    address: ServiceAddress,
    image: str,
    style: str,
    extra: dict[str, str],
) -> Callable[[str, str, int, int], str]:
    """A function that returns the URL of a tile, for set, matrix, column and row."""
    own = {key: value for key, value in query_of(address.url).items() if key not in _PROTOCOL}
    base = address.url
    resources = (
        attribute(one, "template")
        for one in children(layer, "ResourceURL")
        if attribute(one, "resourceType") == "tile" and attribute(one, "format") in (image, "")
    )
    pattern = next(resources, None)
    if pattern is not None:
        resource = urljoin(base, pattern)
        values = {"style": style, **{name.lower(): value for name, value in extra.items()}}

        def rest(matrix_set: str, matrix: str, column: int, row: int) -> str:
            place = {
                "tilematrixset": matrix_set,
                "tilematrix": matrix,
                "tilecol": str(column),
                "tilerow": str(row),
            }
            filled = re.sub(
                r"\{([^{}]+)\}",
                lambda m: quote((values | place).get(m[1].lower(), m[0]), safe=":/"),
                resource,
            )
            return _with_own(filled, base, own)

        return rest
    address_kvp = urljoin(base, _operation(root) or base)
    named = {
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": text(layer, "Identifier"),
        "STYLE": style,
        "FORMAT": image,
        **{name.upper(): value for name, value in extra.items()},
    }

    def kvp(matrix_set: str, matrix: str, column: int, row: int) -> str:
        place = {
            "TILEMATRIXSET": matrix_set,
            "TILEMATRIX": matrix,
            "TILEROW": str(row),
            "TILECOL": str(column),
        }
        return _with_own(with_query(address_kvp, **named, **place), base, own)

    return kvp


def _with_own(url: str, base: str, own: dict[str, str]) -> str:
    """Add what the user's own address has in its query, such as a key, for the same host."""
    missing = {key: value for key, value in own.items() if key not in query_of(url)}
    same = urlsplit(url).netloc == urlsplit(base).netloc.rpartition("@")[2]
    return with_query(url, **missing) if missing and same else url


def _operation(root: ET.Element) -> str:
    for operation in children(find(root, "OperationsMetadata"), "Operation"):
        if attribute(operation, "name") == "GetTile":
            for get in children(find(operation, "DCP", "HTTP"), "Get"):
                encodings = {
                    text(value)
                    for one in children(get, "Constraint")
                    for value in children(find(one, "AllowedValues"), "Value")
                }
                if not encodings or "KVP" in encodings:
                    return attribute(get, "href")
    return ""


def _sets(
    root: ET.Element, layer: ET.Element, template: Callable[[str, str, int, int], str]
) -> dict[str, _MatrixSet]:
    contents = find(root, "Contents")
    defined = {text(one, "Identifier"): one for one in children(contents, "TileMatrixSet")}
    lonlat = _corners(find(layer, "WGS84BoundingBox"))
    found = {}
    for link in children(layer, "TileMatrixSetLink"):
        name = text(link, "TileMatrixSet")
        definition = defined.get(name)
        crs = crs_of(text(definition, "SupportedCRS"))
        if definition is None or crs is None:
            continue
        limits = {
            text(one, "TileMatrix"): one
            for one in children(find(link, "TileMatrixSetLimits"), "TileMatrixLimits")
        }
        levels = _levels(definition, horizontal_crs(crs), limits, lonlat, template)
        bounds = _bounds(levels, crs, lonlat)
        if levels and bounds:
            found[name] = _MatrixSet(name, horizontal_crs(crs), bounds, levels)
    return found


def _corners(box: ET.Element | None) -> BBox | None:
    try:
        left, bottom = map(float, text(box, "LowerCorner").split())
        right, top = map(float, text(box, "UpperCorner").split())
    except ValueError:
        return None
    return BBox(left, bottom, right, top) if left < right and bottom < top else None


def _bounds(levels: tuple[Level, ...], crs: CRS, lonlat: BBox | None) -> BBox | None:
    if not levels:
        return None
    finest = levels[0].bounds
    if lonlat is None:
        return finest
    try:
        with gdal_errors():
            stated = BBox(*transform_bounds(WGS84, crs, *lonlat, densify_pts=21))
    except RasterioError:
        return finest
    # Bounds of the whole world have no coordinates in many CRSs.
    return finest.intersection(stated) if all(map(math.isfinite, stated)) else finest


def _levels(
    definition: ET.Element,
    crs: CRS,
    limits: dict[str, ET.Element],
    lonlat: BBox | None,
    template: Callable[[str, str, int, int], str],
) -> tuple[Level, ...]:
    name = text(definition, "Identifier")
    north_first = first_axis_is_north(crs) and "urn:" in text(definition, "SupportedCRS").lower()
    found = []
    for matrix in children(definition, "TileMatrix"):
        identifier = text(matrix, "Identifier")
        if limits and identifier not in limits:
            continue
        try:
            cell = float(text(matrix, "ScaleDenominator")) * PIXEL_M / metres_per_unit(crs)
            first, second = map(float, text(matrix, "TopLeftCorner").split())
            tile = int(text(matrix, "TileWidth")), int(text(matrix, "TileHeight"))
            size = int(text(matrix, "MatrixWidth")), int(text(matrix, "MatrixHeight"))
            tiles = _limits(limits.get(identifier), size)
        except ValueError:
            continue
        left, top = (second, first) if north_first else (first, second)
        if is_mercator(crs):
            cell, left, top = _exact(cell, left, top)

        def url(column: int, row: int, matrix_name: str = identifier) -> str:
            return template(name, matrix_name, column, row)

        found.append(Level(identifier, cell, left, top, tile, tiles, url))
    found.sort(key=lambda level: level.cell)
    return tuple(_turned(found, crs, lonlat))


def _turned(levels: list[Level], crs: CRS, lonlat: BBox | None) -> list[Level]:
    """Exchange the axes of the corners where the layer lies outside of its matrices otherwise: many services err."""
    if not levels or lonlat is None:
        return levels
    try:
        with gdal_errors():
            middle = BBox(*transform_bounds(WGS84, crs, *lonlat)).centre
    except RasterioError:
        return levels
    point = BBox(*middle, *middle)
    turned = [Level(one.name, one.cell, one.top, one.left, one.tile_px, one.tiles, one.url) for one in levels]
    inside = levels[-1].bounds.intersection(_grown(point, levels[-1].cell))
    other = turned[-1].bounds.intersection(_grown(point, levels[-1].cell))
    return turned if inside is None and other is not None else levels


def _grown(box: BBox, by: float) -> BBox:
    return BBox(box.left - by, box.bottom - by, box.right + by, box.top + by)


def _limits(element: ET.Element | None, size: tuple[int, int]) -> TileRange:
    if element is None:
        return TileRange(0, 0, *size)
    left, right = (max(0, int(text(element, name))) for name in ("MinTileCol", "MaxTileCol"))
    top, bottom = (max(0, int(text(element, name))) for name in ("MinTileRow", "MaxTileRow"))
    return TileRange(left, top, min(right + 1, size[0]), min(bottom + 1, size[1]))


def _exact(cell: float, left: float, top: float) -> tuple[float, float, float]:
    """Undo the rounding of Web Mercator's usual grid, which is many pixels at its finest levels."""
    zoom = math.log2(2 * MERCATOR_HALF_M / 256 / cell)
    if abs(zoom - round(zoom)) < 1e-5 and abs(left + MERCATOR_HALF_M) < 1 and abs(top - MERCATOR_HALF_M) < 1:
        return math.ldexp(2 * MERCATOR_HALF_M / 256, -round(zoom)), -MERCATOR_HALF_M, MERCATOR_HALF_M
    return cell, left, top


def _choose_set(sets: dict[str, _MatrixSet], wanted: str | None, crs: CRS | None, where: str) -> _MatrixSet:
    if wanted is not None or not sets:
        return choose(sets, wanted, where, "tilematrixset")[1]
    if crs is not None:
        fitting = [one for one in sets.values() if one.crs == crs]
        if not fitting:
            raise SourceError(
                f"{where} has no tile matrix set in the CRS that --crs names: leave it out, or name a set with "
                f",tilematrixset=NAME, of {listed(sets)}"
            )
        return min(fitting, key=_gsd)
    finest = min(map(_gsd, sets.values()))
    fine = [one for one in sets.values() if _gsd(one) <= _NEARLY_AS_FINE * finest]
    return min(fine, key=lambda one: (is_worldwide(one.crs), not is_mercator(one.crs), _gsd(one)))


def _gsd(one: _MatrixSet) -> float:
    finest = one.levels[0]
    return ServiceLayer("", "", (), one.crs, one.bounds, one.levels, "").gsd_m(finest)


def _credit(root: ET.Element) -> tuple[str, tuple[str, ...]]:
    identification = find(root, "ServiceIdentification")
    return credit_and_terms(
        text(root, "ServiceProvider", "ProviderName").replace("None", ""),
        text(identification, "AccessConstraints"),
        text(identification, "Fees"),
    )
