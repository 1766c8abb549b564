"""The layers of a map, and the tile matrix sets they are served on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from tileserver.tiling.grid import is_quadtree

if TYPE_CHECKING:
    from morecantile import TileMatrixSet
    from morecantile.defaults import TileMatrixSets

Layer = Literal["restored", "old", "new", "difference"]
LAYERS: Final[tuple[Layer, ...]] = get_args(Layer)
# Layers whose pixels come from the network.
AI_LAYERS: Final[tuple[Layer, ...]] = ("restored", "difference")
WEB_MERCATOR: Final = "WebMercatorQuad"
# Name of a map that is alone, and has no path of its own.
ONLY_MAP: Final = "map"


def web_mercator() -> TileMatrixSet:
    """Return the tile matrix set of web maps, without looking at all others, which takes a fifth of a second."""
    import morecantile

    return morecantile.tms.get(WEB_MERCATOR)


@cache
def supported_tms() -> TileMatrixSets:
    """Return the tile matrix sets known to morecantile that are quadtrees of 256 px tiles."""
    import morecantile

    known = morecantile.tms
    sets = {name: known.get(name) for name in known.list()}
    return morecantile.defaults.TileMatrixSets({name: tms for name, tms in sets.items() if is_quadtree(tms)})
