"""Zooming does not flash with the bundled weights and demo: a tile has the mean colour of its four children."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.raster import Raster

DEMO = Path(__file__).parents[2] / "tileserver" / "demo" / "2010.tif"
MERCATOR = "WebMercatorQuad"
MOST = 1.0
Record = Callable[[str, object], None]


def colour(rasters: list[Raster]) -> np.ndarray:
    """Mean colour of all pixels that have data."""
    return np.concatenate([one.rgb[one.mask != 0] for one in rasters]).astype(np.float64).mean(axis=0)


def picture(service: TileService, tile: TileAddress) -> Raster:
    return service.raster("restored", MERCATOR, tile.z, tile.window)


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "taste",
    [
        pytest.param({}, id="corrected"),
        pytest.param({"colours": "photo", "contrast": 1.3}, id="photo"),
    ],
)
def test_a_tile_has_the_colour_of_its_children(taste: dict[str, object], record_property: Record) -> None:
    service = TileService(Settings(source=str(DEMO), runtime="openvino", **taste))  # type: ignore[arg-type]
    pyramid = service.rasters.view("restored", MERCATOR).pyramid
    extent = pyramid.grid.covering(pyramid.max_zoom, pyramid.extent)
    middle = (extent.x + extent.width // 2) // 256, (extent.y + extent.height // 2) // 256
    flashes = {}
    for zoom in range(pyramid.min_zoom, pyramid.max_zoom):
        levels = pyramid.max_zoom - zoom
        tile = TileAddress(zoom, middle[0] >> levels, middle[1] >> levels)
        children = [
            TileAddress(zoom + 1, 2 * tile.x + across, 2 * tile.y + down)
            for across in (0, 1)
            for down in (0, 1)
        ]
        shown = [one for one in children if pyramid.touches(one.z, one.window)]
        below = [picture(service, one) for one in shown]
        flashes[zoom] = float(np.abs(colour([picture(service, tile)]) - colour(below)).max())
    service.close()
    record_property("flashes", flashes)
    assert pyramid.min_zoom < pyramid.min_metatile_zoom
    assert max(flashes.values()) < MOST, flashes
