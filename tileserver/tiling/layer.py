"""What a map shows, and on which grids: layers and tile matrix sets."""

from __future__ import annotations

from typing import Final, Literal, get_args

import morecantile

from tileserver.tiling.grid import is_quadtree

Layer = Literal["restored", "old", "new", "difference"]
LAYERS: Final[tuple[Layer, ...]] = get_args(Layer)
WEB_MERCATOR: Final = "WebMercatorQuad"


def supported_tms() -> morecantile.defaults.TileMatrixSets:
    """Morecantile's tile matrix sets that are quadtrees of 256 px tiles."""
    known = morecantile.tms
    wanted = {name: known.get(name) for name in known.list()}
    return morecantile.defaults.TileMatrixSets(
        {name: tms for name, tms in wanted.items() if is_quadtree(tms)}
    )
