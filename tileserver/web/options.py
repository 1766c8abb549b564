"""Options in a request's query that other tile servers know: obeyed where they make sense, else refused by name."""

# Annotations are not postponed: older versions of FastAPI cannot evaluate those of classes of another module.

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final
from urllib.parse import unquote_plus, urlencode

import numpy as np
from fastapi import Query
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from rio_tiler.colormap import cmap
from rio_tiler.errors import InvalidColorMapName
from starlette.requests import Request
from titiler.core.dependencies import DefaultDependency

from sr_model import PixelWindow
from tileserver.errors import BadParameterError, UnsupportedOptionError
from tileserver.tiling.grid import TILE_PX
from tileserver.tiling.raster import Raster, UInt8Array

# What titiler and its relatives obey, and what to do here instead.
_ELSEWHERE: Final = "the server's settings say how the photograph is read"
_OWN_LAYER: Final = "only tiles and pictures of the layers old and new obey it"
_REFUSED: Final = {
    "url": "the server shows the photographs that it was started with",
    "assets": _ELSEWHERE,
    "asset_bidx": _ELSEWHERE,
    "asset_as_band": _ELSEWHERE,
    "expression": "use bidx, rescale and colormap_name on the layer old",
    "bidx": _OWN_LAYER,
    "rescale": _OWN_LAYER,
    "colormap_name": _OWN_LAYER,
    "colormap": "use colormap_name on the layer old",
    "color_formula": "use rescale on the layer old",
    "nodata": _ELSEWHERE,
    "unscale": _ELSEWHERE,
    "resampling": "pixels are interpolated as the network was trained to see them",
    "reproject": "pixels are interpolated as the network was trained to see them",
    "return_mask": "use JPEG for pictures without transparency",
    "buffer": "tiles have no border: ask for the neighbours",
    "padding": "tiles have no border: ask for the neighbours",
    "crs": "choose a tile matrix set, or draw a picture in that CRS",
    "dst_crs": "choose a tile matrix set, or draw a picture in that CRS",
    "coord_crs": "choose a tile matrix set, or draw a picture in that CRS",
    "max_size": "only previews obey it",
    "tilesize": "only tiles and TileJSON obey it",
    "tile_scale": "use @2x, or scale=2 of TileJSON",
    "algorithm": "use bidx, rescale and colormap_name on the layer old",
    "algorithm_params": "use bidx, rescale and colormap_name on the layer old",
}
# Queries of tiles that are remembered: tokens, most of all. Longer ones must not fill the memory.
_MOST_QUERIES: Final = 4096
_LONG_QUERY_BYTES: Final = 300


def refuse_unknown_options(request: Request) -> None:
    """Refuse options of other tile servers that the route does not declare: they are not ignored in silence.

    Raises:
        UnsupportedOptionError: there is one.
    """
    given = _REFUSED.keys() & request.query_params.keys()
    if not given:
        return
    route = request.scope.get("route")
    declared = _query_names(route.dependant) if isinstance(route, APIRoute) else set()
    for name in sorted(given - declared):
        raise UnsupportedOptionError(f"{name} is not obeyed here: {_REFUSED[name]}, and leave it out")


def _query_names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_query_names(one) for one in dependant.dependencies))


def may_change_pixels(query: bytes) -> bool:
    """Return whether a query has an option that a cached tile must not be the answer to."""
    return bool(query) and (len(query) > _LONG_QUERY_BYTES or _has_options(query))


@lru_cache(_MOST_QUERIES)
def _has_options(query: bytes) -> bool:
    names = {unquote_plus(pair.split("=")[0]) for pair in query.decode("latin-1").split("&")}
    return not names.isdisjoint(_REFUSED)


def tile_scale(tilesize: int | None, scale: int = 1) -> int:
    """Return the scale of a tile whose side in pixels is chosen.

    Args:
        tilesize: the side; None for that of the scale.
        scale: what the path says.

    Raises:
        BadParameterError: there are no tiles of that size, or the path says another one.
    """
    if tilesize is None:
        return scale
    if tilesize not in (TILE_PX, 2 * TILE_PX) or (scale > 1 and tilesize != scale * TILE_PX):
        raise BadParameterError(
            f"tilesize {tilesize} is not served here: use {TILE_PX}, or {2 * TILE_PX} for @2x"
        )
    return tilesize // TILE_PX


@dataclass
class Adjustment(DefaultDependency):
    """How the photograph's colours are shown: titiler's parameters, applied to the layer's 8-bit pixels.

    Attributes:
        bidx: bands to show, counted from 1; one, or three.
        rescale: values that become black and white, as MIN,MAX; for all bands, or for each.
        colormap_name: colours that a single band is shown in; the names are those of rio-tiler.
    """

    bidx: Annotated[
        list[int] | None, Query(max_length=3, description="Bands, counted from 1: one, or three.")
    ] = None
    rescale: Annotated[
        list[str] | None, Query(max_length=3, description="MIN,MAX of 0 to 255 that become black and white.")
    ] = None
    colormap_name: Annotated[
        str | None, Query(max_length=40, description="Colours of a single band, such as viridis.")
    ] = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be changed."""
        return self.bidx is None and self.rescale is None and self.colormap_name is None

    def query(self) -> str:
        """Return what a tile's address needs at its end to be shown so.

        Raises:
            BadParameterError: a value is malformed.
        """
        self.apply(Raster.blank(PixelWindow(0, 0, 1, 1)))
        given = {"bidx": self.bidx, "rescale": self.rescale, "colormap_name": self.colormap_name}
        return urlencode({name: value for name, value in given.items() if value is not None}, doseq=True)

    def apply(self, raster: Raster) -> Raster:
        """Return the pixels as they are to be shown.

        Raises:
            BadParameterError: a value is malformed.
        """
        if self.is_plain:
            return raster
        bands = self._bands(raster.rgb)
        if self.rescale is not None:
            bands = self._rescaled(bands)
        mask = raster.mask
        if self.colormap_name is not None:
            bands, mask = self._coloured(bands, mask)
        rgb = np.repeat(bands, 3, axis=2) if bands.shape[2] == 1 else bands
        return Raster(raster.window, np.ascontiguousarray(rgb), mask).masked()

    def _bands(self, rgb: UInt8Array) -> UInt8Array:
        chosen = self.bidx if self.bidx is not None else [1, 2, 3]
        if len(chosen) not in (1, 3) or not all(1 <= number <= 3 for number in chosen):
            raise BadParameterError("bidx is one band or three of 1, 2 and 3: bidx=3&bidx=2&bidx=1")
        return rgb[..., [number - 1 for number in chosen]]

    def _rescaled(self, bands: UInt8Array) -> UInt8Array:
        ranges = [_range(text) for text in self.rescale or []]
        if len(ranges) not in (1, bands.shape[2]):
            raise BadParameterError("rescale is given once, or once for each band")
        low, high = (np.array([one[end] for one in ranges], np.float32) for end in (0, 1))
        shown = (bands - low) * (255 / (high - low))
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)

    def _coloured(self, bands: UInt8Array, mask: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        if bands.shape[2] != 1:
            raise BadParameterError("colormap_name is for a single band: add bidx=1")
        try:
            found = cmap.get(str(self.colormap_name).lower())
        except InvalidColorMapName as error:
            raise BadParameterError("unknown colormap_name: use one such as viridis or greys") from error
        if not isinstance(found, dict) or not all(value in found for value in range(256)):
            raise BadParameterError(
                "this colormap_name has not a colour for each value: use one such as viridis"
            )
        colours = np.array([found[value] for value in range(256)], np.uint8)[bands[..., 0]]
        return colours[..., :3], np.where(colours[..., 3] == 0, np.uint8(0), mask)


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(number) for number in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise BadParameterError(f"rescale={text[:40]!r} is not MIN,MAX: give two numbers, such as 30,200")
    return low, high
