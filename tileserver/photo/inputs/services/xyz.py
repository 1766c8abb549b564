"""XYZ templates: https://.../{z}/{x}/{y}.png in the tiles of Web Mercator, which say nothing about themselves."""

from __future__ import annotations

import math
import re
from typing import Final

from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tileserver.errors import SourceError
from tileserver.photo.inputs.services.address import EDITION, ServiceAddress
from tileserver.photo.inputs.services.client import PoliteClient, ServiceFault
from tileserver.photo.inputs.services.documents import ASK_FOR_LOGIN
from tileserver.photo.inputs.services.images import MOST_IMAGE_BYTES, ImageFault, image_size, is_gap
from tileserver.photo.inputs.services.levels import (
    MERCATOR_HALF_M,
    Level,
    ServiceLayer,
    TileRange,
    is_mercator,
)
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import WGS84
from tileserver.tiling.grid import BBox

_LAST_ZOOM: Final = 24
_SUBDOMAINS: Final = ("a", "b", "c")
_FIELDS: Final = ("z", "x", "y", "-y", "s", "r")
_LIMIT_DEGREES: Final = 85.051128779806604
# Places along each side of the bounds at which a first tile is looked for.
_PLACES: Final = (0.5, 0.25, 0.75)


def open_xyz(
    address: ServiceAddress, client: PoliteClient, crs: CRS | None, lonlat: BBox | None
) -> ServiceLayer:
    """Find the first zoom that has tiles, and their size.

    Args:
        address: the template.
        client: asks for tiles.
        crs: CRS that the user names; Web Mercator or None.
        lonlat: ground that is shown, in degrees.

    Raises:
        SourceError: the template or the CRS is invalid, the ground is not given, or there are no tiles.
    """
    _check(address, crs)
    if lonlat is None:
        raise SourceError(
            f"{address.shown} does not say which ground it covers: name it with --source-bounds W,S,E,N in degrees"
        )
    south, north = (max(-_LIMIT_DEGREES, min(_LIMIT_DEGREES, value)) for value in (lonlat[1], lonlat[3]))
    mercator = CRS.from_epsg(3857)
    bounds = BBox(*transform_bounds(WGS84, mercator, lonlat[0], south, lonlat[2], north))
    zoom, side = _first_zoom(address, client, bounds)
    levels = [_level(address.url, zoom_, side) for zoom_ in range(_LAST_ZOOM, zoom - 1, -1)]
    credit = Notice(
        "service-without-credit",
        "a template does not say who owns the photograph or how it may be used: ask its provider, and name the owner "
        "with --credit TEXT",
    )
    return ServiceLayer(
        title=address.host,
        credit="",
        terms=(),
        crs=mercator,
        bounds=bounds,
        levels=tuple(levels),
        identity="",
        are_certain=False,
        warnings=(credit,),
    )


def _check(address: ServiceAddress, crs: CRS | None) -> None:
    names = re.findall(r"\{([^{}]*)\}", address.url)
    unknown = [name for name in names if name not in _FIELDS]
    if unknown or not {"z", "x"} <= {*names} or len({"y", "-y"} & {*names}) != 1:
        what = f"{{{unknown[0]}}} is unknown" if unknown else "a place for zoom, column or row is missing"
        raise SourceError(
            f"{address.shown}: {what}. Write {{z}}, {{x}}, and {{y}} or {{-y}}; {{s}} is a, b, c"
        )
    others = sorted(address.keys.keys() - {EDITION})
    if others:
        raise SourceError(f"{address.shown} has no {others[0]!r}: the only key after a template is {EDITION}")
    if crs is not None and not is_mercator(crs):
        raise SourceError(
            f"{address.shown}: templates have the tiles of Web Mercator: leave out --crs, or name its WMTS"
        )


def fill(template: str, zoom: int, column: int, row: int) -> str:
    """Return the URL of a tile, counted from the north-west."""
    values = {
        "z": zoom,
        "x": column,
        "y": row,
        "-y": 2**zoom - 1 - row,
        "s": _SUBDOMAINS[(column + row) % len(_SUBDOMAINS)],
        "r": "",
    }
    return re.sub(r"\{([^{}]*)\}", lambda m: str(values[m[1]]), template)


def _level(template: str, zoom: int, side: int) -> Level:
    def url(column: int, row: int) -> str:
        return fill(template, zoom, column, row)

    cell = math.ldexp(2 * MERCATOR_HALF_M / side, -zoom)
    tiles = TileRange(0, 0, 2**zoom, 2**zoom)
    return Level(str(zoom), cell, -MERCATOR_HALF_M, MERCATOR_HALF_M, (side, side), tiles, url)


def _first_zoom(address: ServiceAddress, client: PoliteClient, bounds: BBox) -> tuple[int, int]:
    """The coarsest zoom, from that of a single tile on, that has a tile at one of some places; and its side."""
    longest = max(bounds.width, bounds.height)
    start = max(0, math.floor(math.log2(2 * MERCATOR_HALF_M / longest)))
    answers: list[str] = []
    for zoom in range(start, _LAST_ZOOM):
        side_m = math.ldexp(2 * MERCATOR_HALF_M, -zoom)
        tiles = {
            (
                int((bounds.left + bounds.width * across + MERCATOR_HALF_M) // side_m),
                int((MERCATOR_HALF_M - bounds.top + bounds.height * down) // side_m),
            )
            for across in _PLACES
            for down in _PLACES
        }
        for column, row in sorted(tiles):
            size = _size(address, client, fill(address.url, zoom, column, row), answers)
            if size is not None:
                return zoom, size
    raise SourceError(
        f"{address.shown} has no tiles on this ground ({', '.join(dict.fromkeys(answers)) or 'gaps only'}): check the "
        "template and --source-bounds"
    )


def _size(address: ServiceAddress, client: PoliteClient, url: str, answers: list[str]) -> int | None:
    try:
        reply = client.get(url, MOST_IMAGE_BYTES)
        if reply.status in (401, 403):
            raise SourceError(f"{address.shown} asks for a password ({reply.status}): {ASK_FOR_LOGIN}")
        if is_gap(reply) or reply.status != 200:
            answers.append(f"it answers {reply.status}")
            return None
        width, height = image_size(reply.body)
    except ServiceFault as error:
        raise SourceError(f"the service does not answer: {error}. Check its address, or try later") from error
    except ImageFault as error:
        raise SourceError(f"{address.shown} sends something else than an image: {error}") from error
    if width != height:
        raise SourceError(f"{address.shown} sends tiles of {width} x {height} px: they have to be square")
    return width
