"""Which tiles are seeded, and in which order; held against mercantile and morecantile."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import mercantile
import morecantile
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pmtiles.tile import zxy_to_tileid
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tileserver.errors import SettingsError
from tileserver.jobs.area import Area, wanted_area, wanted_bbox
from tileserver.jobs.seed.plan import SeedPlan, children
from tileserver.tiling.grid import BBox, Pyramid, QuadGrid, TileAddress

WGS84 = CRS.from_epsg(4326)
WEST, SOUTH, EAST, NORTH = -73.6, 42.3, -73.5, 42.4


def make_plan(
    bbox: tuple[float, float, float, float] | None = None,
    zooms: tuple[int, int] = (8, 15),
    tms: str = "WebMercatorQuad",
    scale: int = 1,
    native_zoom: int = 15,
) -> SeedPlan:
    matrices = morecantile.tms.get(tms)
    crs = CRS.from_user_input(matrices.rasterio_crs)
    extent = BBox(*transform_bounds(WGS84, crs, WEST, SOUTH, EAST, NORTH))
    pyramid = Pyramid(QuadGrid.from_tms(matrices), native_zoom, extent)
    wanted = wanted_bbox(",".join(map(repr, bbox)), crs) if bbox else None
    return SeedPlan(pyramid, Area(wanted, extent), *zooms, scale)


def all_tiles(plan: SeedPlan) -> list[TileAddress]:
    """What a seeder makes of the plan, in its order."""
    found: list[TileAddress] = []
    for node in plan.walk():
        found += plan.tiles(node) if node.z == plan.unit_zoom else [node]
    return found


fraction = st.floats(0.0, 0.9)


@settings(max_examples=25, deadline=None)
@given(fraction, fraction, st.floats(0.02, 1), st.integers(0, 15), st.integers(0, 6), st.sampled_from([1, 2]))
def test_tiles_are_those_of_mercantile(
    left: float, low: float, size: float, first: int, more: int, scale: int
) -> None:
    west, south = WEST + left * (EAST - WEST), SOUTH + low * (NORTH - SOUTH)
    east, north = min(EAST, west + size * (EAST - WEST)), min(NORTH, south + size * (NORTH - SOUTH))
    zooms = range(first, min(16, first + more) + 1)
    plan = make_plan((west, south, east, north), (zooms[0], zooms[-1]), scale=scale)
    found = all_tiles(plan)
    listed = {(tile.z, tile.x, tile.y) for tile in mercantile.tiles(west, south, east, north, list(zooms))}
    # Mercantile counts a tile that shares less than a millionth of itself; here that is not enough.
    ours = {(tile.z, tile.x, tile.y) for tile in found}
    assert len(ours) == len(found) == plan.tile_count
    assert ours <= listed
    for z, x, y in listed - ours:
        shared = mercantile.bounds(x, y, z)
        width = min(shared.east, east) - max(shared.west, west)
        height = min(shared.north, north) - max(shared.south, south)
        side = 1e-5 * (shared.east - shared.west)
        assert width < side or height < side


def test_tiles_of_another_set_are_those_of_morecantile() -> None:
    plan = make_plan(zooms=(9, 15), tms="WorldCRS84Quad")
    matrices = morecantile.tms.get("WorldCRS84Quad")
    listed = {tuple(tile) for tile in matrices.tiles(WEST, SOUTH, EAST, NORTH, list(range(9, 16)))}
    assert {(tile.x, tile.y, tile.z) for tile in all_tiles(plan)} == listed


@pytest.mark.parametrize("scale", [1, 2])
def test_children_come_before_parents_along_a_hilbert_curve(scale: int) -> None:
    plan = make_plan(zooms=(0, 15), scale=scale)
    nodes = list(plan.walk())
    place = {node: number for number, node in enumerate(nodes)}
    for node in nodes:
        if node.z < plan.unit_zoom:
            assert all(place[child] < place[node] for child in children(node) if child in place)
    for zoom in range(plan.unit_zoom + 1):
        ids = [zxy_to_tileid(node.z, node.x, node.y) for node in nodes if node.z == zoom]
        assert ids == sorted(ids)
        assert len(ids) == plan.count(zoom)


def test_only_zooms_that_are_wanted() -> None:
    for zooms in ((15, 17), (3, 5), (13, 13), (12, 16)):
        plan = make_plan(zooms=zooms)
        found = all_tiles(plan)
        assert {tile.z for tile in found} == set(range(zooms[0], zooms[1] + 1))
        assert len(found) == plan.tile_count
        assert sum(node.z == plan.unit_zoom for node in plan.walk()) == plan.unit_count


def test_an_area_of_any_shape(tmp_path: Path) -> None:
    """A triangle: the tiles that touch it, counted without listing them, and no others."""
    triangle = [[WEST, SOUTH], [EAST, SOUTH], [WEST, NORTH], [WEST, SOUTH]]
    geometry = {"type": "Polygon", "coordinates": [triangle]}
    path = tmp_path / "area.geojson"
    mercator = CRS.from_epsg(3857)
    whole = make_plan(zooms=(14, 17))
    for document in (
        geometry,
        {"type": "Feature", "properties": {}, "geometry": geometry},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": geometry}],
        },
    ):
        path.write_text(json.dumps(document))
        area = Area(wanted_area(path, mercator), whole.pyramid.extent)
        plan = SeedPlan(whole.pyramid, area, 14, 17)
        found = all_tiles(plan)
        assert 0.5 < len(found) / whole.tile_count < 0.6
        assert len(found) == plan.tile_count
        polygon = shapely.Polygon(triangle)
        for tile in itertools.islice(found, 0, None, 37):
            assert polygon.intersects(shapely.box(*mercantile.bounds(tile.x, tile.y, tile.z)).buffer(1e-5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "W,S,E,N"),
        ("a,b,c,d", "W,S,E,N"),
        ("-73.5,42.3,-73.6,42.4", "in this order"),
        ("42.3,-73.6,42.4,-73.5", "does not intersect"),
        ("nan,nan,nan,nan", "not a rectangle"),
        ("10,10,11,11", "orthosharp info"),
    ],
)
def test_rectangles_that_are_none(text: str, words: str) -> None:
    extent = make_plan().pyramid.extent
    with pytest.raises(SettingsError, match=words):
        Area(wanted_bbox(text, CRS.from_epsg(3857)), extent)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dear server", "not GeoJSON"),
        ('{"type": "Point", "coordinates": [1, 2]}', "no polygons"),
        ('{"type": "FeatureCollection", "features": []}', "no polygons"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[500000,0],[500000,1],[0,0]]]}', "WGS 84"),
        ("[]", "not GeoJSON"),
        ("{}", "not GeoJSON"),
    ],
)
def test_areas_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        wanted_area(path, CRS.from_epsg(3857))


def test_a_world_of_tiles_is_walked_one_branch_at_a_time() -> None:
    """Counting takes the length of the outline, not the area; the walk is lazy."""
    extent = BBox(-2e7, -2e7, 2e7, 2e7)
    pyramid = Pyramid(QuadGrid.from_tms(morecantile.tms.get("WebMercatorQuad")), 13, extent)
    plan = SeedPlan(pyramid, Area(None, extent), 0, 13)
    assert plan.unit_count > 0.9 * 4**11
    assert len(list(itertools.islice(plan.walk(), 1000))) == 1000
