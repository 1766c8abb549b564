"""Our grid agrees with mercantile and morecantile, and metatiles tile the plane."""

from __future__ import annotations

import math

import mercantile
import morecantile
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sr_model import PixelWindow
from tileserver.errors import OutsideError
from tileserver.tiling.grid import (
    METATILE_PX,
    BBox,
    Pyramid,
    QuadGrid,
    TileAddress,
    at_zoom,
    is_quadtree,
    nearest_zoom,
)
from tileserver.tiling.layer import supported_tms

MERCATOR = QuadGrid.from_tms(morecantile.tms.get("WebMercatorQuad"))

windows = st.builds(
    PixelWindow,
    x=st.integers(0, 2**24),
    y=st.integers(0, 2**24),
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
)


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    left, bottom = draw(st.integers(-30, 30)), draw(st.integers(-30, 30))
    return BBox(left, bottom, left + draw(st.integers(1, 20)), bottom + draw(st.integers(1, 20)))


@given(boxes(), boxes())
def test_overlap_and_intersection_agree_with_shapely(one: BBox, other: BBox) -> None:
    expected = shapely.box(*one).intersection(shapely.box(*other))
    shared = one.intersection(other)
    assert one.overlaps(other) == other.overlaps(one) == (expected.area > 0)
    assert shared == other.intersection(one)
    # A common border or corner is not common ground.
    assert shared == (BBox(*expected.bounds) if expected.area > 0 else None)


@given(boxes())
def test_centre_and_sides_agree_with_shapely(box: BBox) -> None:
    shape = shapely.box(*box)
    assert box.centre == (shape.centroid.x, shape.centroid.y)
    assert box.width * box.height == shape.area


@st.composite
def tiles(draw: st.DrawFn) -> TileAddress:
    z = draw(st.integers(0, 22))
    last = 2**z - 1
    return TileAddress(
        z, draw(st.integers(0, last)), draw(st.integers(0, last)), draw(st.sampled_from((1, 2)))
    )


@given(tiles())
def test_bounds_of_tiles_agree_with_mercantile(tile: TileAddress) -> None:
    expected = mercantile.xy_bounds(tile.x, tile.y, tile.z)
    bounds = MERCATOR.bounds(tile.pixel_zoom, tile.window)
    assert bounds == pytest.approx(tuple(expected), abs=1e-5)


@pytest.mark.parametrize("name", supported_tms().list())
@given(data=st.data())
def test_bounds_of_tiles_agree_with_morecantile(name: str, data: st.DataObject) -> None:
    tms = morecantile.tms.get(name)
    grid = QuadGrid.from_tms(tms)
    z = data.draw(st.integers(0, tms.maxzoom))
    x = data.draw(st.integers(0, (grid.columns0 << z) - 1))
    y = data.draw(st.integers(0, (grid.rows0 << z) - 1))
    expected = tms.xy_bounds(morecantile.Tile(x, y, z))
    tolerance = 0.5 * grid.cell(z)  # definitions print rounded cell sizes
    assert grid.bounds(z, TileAddress(z, x, y).window) == pytest.approx(tuple(expected), abs=tolerance)


@given(tiles())
def test_covering_inverts_bounds(tile: TileAddress) -> None:
    zoom = tile.pixel_zoom
    assert MERCATOR.covering(zoom, MERCATOR.bounds(zoom, tile.window)) == tile.window


@given(tiles())
def test_tile_at_2x_is_its_four_children(tile: TileAddress) -> None:
    children = [
        TileAddress(tile.z + 1, 2 * tile.x + i, 2 * tile.y + j).window for j in (0, 1) for i in (0, 1)
    ]
    doubled = TileAddress(tile.z, tile.x, tile.y, 2).window
    assert (doubled.x, doubled.y) == (children[0].x, children[0].y)
    assert (doubled.right, doubled.bottom) == (children[3].right, children[3].bottom)


@given(windows, st.integers(-2, 3))
def test_pieces_cover_a_window_once(window: PixelWindow, offset: int) -> None:
    pyramid = Pyramid(MERCATOR, 18, BBox(0.0, 0.0, 1.0, 1.0))
    pieces = list(pyramid.pieces(18 + offset, window))
    assert sum(part.area_px for _, part in pieces) == window.area_px
    for metatile, part in pieces:
        assert metatile.x % METATILE_PX == metatile.y % METATILE_PX == 0
        assert window.x <= part.x
        assert part.right <= window.right
        if offset <= 0:
            native = at_zoom(part, -offset)
            assert metatile.x <= native.x
            assert native.right <= metatile.right
            assert metatile.y <= native.y
            assert native.bottom <= metatile.bottom


def test_one_metatile_fills_sixteen_four_and_one_tiles() -> None:
    pyramid = Pyramid(MERCATOR, 18, BBox(0.0, 0.0, 1.0, 1.0))
    for offset, count in ((0, 4), (-1, 2), (-2, 1)):
        zoom = 18 + offset
        tiles = [TileAddress(zoom, count * 5 + i, count * 7 + j) for i in range(count) for j in range(count)]
        metatiles = {metatile for tile in tiles for metatile, _ in pyramid.pieces(zoom, tile.window)}
        assert metatiles == {PixelWindow(5 * METATILE_PX, 7 * METATILE_PX, METATILE_PX, METATILE_PX)}


@given(st.floats(1e-3, 1e5))
def test_nearest_zoom_is_nearest_in_octaves(gsd_m: float) -> None:
    zoom0 = 156543.0
    zoom = nearest_zoom(zoom0, gsd_m)
    distance = [abs(math.log2(zoom0 / 2**z / gsd_m)) for z in (zoom - 1, zoom, zoom + 1) if z >= 0]
    assert min(distance) == pytest.approx(abs(math.log2(zoom0 / 2**zoom / gsd_m)))


def test_only_quadtrees_are_offered() -> None:
    names = supported_tms().list()
    assert {"WebMercatorQuad", "WGS1984Quad", "WorldCRS84Quad"} <= set(names)
    assert not is_quadtree(morecantile.tms.get("CanadianNAD83_LCC"))
    with pytest.raises(OutsideError, match="WebMercatorQuad"):
        QuadGrid.from_tms(morecantile.tms.get("GNOSISGlobalGrid"))
