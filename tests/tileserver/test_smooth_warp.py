"""Windows resampled without GDAL's warper have its pixels, within one grey level."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import morecantile
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from sr_model import PixelWindow
from tileserver.photo import warp
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.raster import Raster

MakePhoto = Callable[..., Path]
MERCATOR = morecantile.tms.get("WebMercatorQuad")
# Of a sample of pixels, so many may be rounded otherwise: GDAL's positions are right within 1e-4 pixels.
ROUNDED_OTHERWISE = 0.003


class Taken:
    """Which parts of windows were resampled without GDAL, in turn; `off` leaves all to GDAL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[bool] = []
        self.off = False
        original = warp.warp_smooth

        def spy(*given: Any) -> bool:
            if self.off:
                return False
            self.parts.append(original(*given))
            return self.parts[-1]

        monkeypatch.setattr(warp, "warp_smooth", spy)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


def open_view(path: Path, **options: Any) -> View:
    return View.of_tms(Source.open(str(path), **options), MERCATOR, OutputScale(0.3048))


def both(view: View, window: PixelWindow, taken: Taken) -> tuple[Raster, Raster]:
    zoom = view.pyramid.native_zoom
    made = view.read(zoom, window)
    taken.off = True
    wanted = view.read(zoom, window)
    taken.off = False
    return made, wanted


def check_same(made: Raster, wanted: Raster) -> None:
    np.testing.assert_array_equal(made.mask, wanted.mask)
    error = np.abs(made.rgb.astype(int) - wanted.rgb)
    assert error.max() <= 1
    assert (error > 0).mean() < ROUNDED_OTHERWISE


def whole(view: View) -> PixelWindow:
    return view.pyramid.grid.covering(view.pyramid.native_zoom, view.pyramid.extent)


def inside(view: View) -> PixelWindow:
    """A window in the south-east, where no photograph of these tests has a hole."""
    extent = whole(view)
    width, height = int(extent.width * 0.3), int(extent.height * 0.3)
    return PixelWindow(
        extent.x + int(extent.width * 0.6), extent.y + int(extent.height * 0.58), width, height
    )


def middle(view: View) -> PixelWindow:
    extent = whole(view)
    return PixelWindow(extent.x + extent.width // 2 - 60, extent.y + extent.height // 2 - 60, 130, 120)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("hole", [None, "nodata", "alpha", "mask"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_every_kind_of_photograph(
    make_photo: MakePhoto, taken: Taken, dtype: str, hole: str | None, bands: int
) -> None:
    if dtype == "float32" and hole == "alpha":
        pytest.skip("GDAL's own alpha has 8 or 16 bits")
    view = open_view(make_photo(dtype=dtype, hole=hole, bands=bands, width=256, height=192))
    made, wanted = both(view, inside(view), taken)
    assert taken.parts == [True]
    assert made.is_full
    check_same(made, wanted)
    # Edges and holes are GDAL's.
    check_same(*both(view, whole(view), taken))


@pytest.mark.parametrize(
    ("crs", "gsd", "origin"),
    [
        ("EPSG:32618", 0.6096, (620_000.0, 4_695_000.0)),
        ("EPSG:32618", 0.6096, (820_000.0, 4_695_000.0)),  # turned by two degrees and a half
        ("EPSG:6537+6360", 2.0, (753_000.0, 1_300_000.0)),
        ("ESRI:102722", 2.0, (2_100_000.0, 700_000.0)),
        ("EPSG:3857", 0.6096 / 0.7385, (-8_185_000.0, 5_220_000.0)),
        ("EPSG:4326", 0.6096 / 111_060, (-73.53, 42.39)),
        ("EPSG:27700", 0.6096, (430_000.0, 380_000.0)),  # another datum
        ("EPSG:3413", 0.6096, (1_500_000.0, -1_500_000.0)),  # polar, turned by any angle
    ],
)
def test_every_crs(
    make_photo: MakePhoto, taken: Taken, crs: str, gsd: float, origin: tuple[float, float]
) -> None:
    view = open_view(make_photo(crs=crs, gsd_m=gsd, origin=origin))
    made, wanted = both(view, middle(view), taken)
    assert taken.parts == [True]
    check_same(made, wanted)


@pytest.mark.parametrize("degrees", [0, 7, 45, 180, 271])
@pytest.mark.parametrize("rows", ["south", "north"])
def test_turned_photographs(make_photo: MakePhoto, taken: Taken, degrees: float, rows: str) -> None:
    path = make_photo(overviews=(), width=320, height=300)
    with rasterio.open(path, "r+") as dataset:
        step = -0.6 if rows == "south" else 0.6
        matrix = Affine.translation(620_000, 4_695_000) * Affine.rotation(degrees) * Affine.scale(0.6, step)
        dataset.transform = matrix * Affine.translation(-dataset.width / 2, -dataset.height / 2)
    view = open_view(path)
    made, wanted = both(view, middle(view), taken)
    assert taken.parts == [True]
    check_same(made, wanted)


def control_points(width: int, height: int, bend_m: float) -> list[GroundControlPoint]:
    """A grid of them over pixels of 0.6 m, turned by three degrees and bent in the middle."""
    matrix = Affine.translation(620_000, 4_695_000) * Affine.rotation(-3) * Affine.scale(0.6, -0.6)
    points = []
    for row in np.linspace(0, height, 4):
        for column in np.linspace(0, width, 4):
            x, y = matrix * (column, row)
            bent = bend_m * math.sin(math.pi * column / width) * math.sin(math.pi * row / height)
            points.append(GroundControlPoint(row=row, col=column, x=x + bent, y=y))
    return points


@pytest.mark.parametrize("method", ["polynomial", "tps"])
def test_photographs_with_control_points(make_photo: MakePhoto, taken: Taken, method: str) -> None:
    points = control_points(320, 300, bend_m=6.0)
    path = placed_anew(make_photo(overviews=(), width=320, height=300), gcps=points, crs="EPSG:32618")
    view = open_view(path, placing=Placing(gcp_transform=method))  # type: ignore[arg-type]
    made, wanted = both(view, middle(view), taken)
    assert taken.parts == [True]
    assert made.is_full
    check_same(made, wanted)
    # The corners that the turned photograph leaves are hidden.
    made, wanted = both(view, whole(view), taken)
    assert not made.is_full
    check_same(made, wanted)


def test_photographs_with_an_rpc_model(make_photo: MakePhoto, taken: Taken) -> None:
    ones = [1.0] + [0.0] * 19
    model = RPC(
        height_off=0, height_scale=100, lat_off=42.39, lat_scale=0.0008, long_off=-73.54, long_scale=0.0012,
        line_off=150, line_scale=150, samp_off=160, samp_scale=160,
        # A turn, and a term of second order.
        line_num_coeff=[0.0, 0.05, -1.0, 0.0, 0.02] + [0.0] * 15, line_den_coeff=ones,
        samp_num_coeff=[0.0, 1.0, 0.05, 0.0, 0.01] + [0.0] * 15, samp_den_coeff=ones, err_bias=0, err_rand=0,
    )  # fmt: skip
    view = open_view(placed_anew(make_photo(overviews=(), width=320, height=300), rpcs=model))
    made, wanted = both(view, middle(view), taken)
    assert taken.parts == [True]
    check_same(made, wanted)


def placed_anew(path: Path, **place: Any) -> Path:
    """The photograph with another place instead of its transform and CRS."""
    bare = path.with_name("bare.tif")
    with rasterio.open(path) as dataset:
        profile = {name: value for name, value in dataset.profile.items() if name not in ("transform", "crs")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(bare, "w", **profile, **place) as made:
                made.write(dataset.read())
    return bare


@pytest.mark.parametrize("nodata", [0, 255, 7])
def test_values_beside_nodata_stay_visible(tmp_path: Path, taken: Taken, nodata: int) -> None:
    """The kernel reaches the nodata value beside others, and GDAL keeps such pixels off it."""
    stripes = np.where(np.arange(300) % 12 < 6, abs(nodata - 1), abs(nodata - 40)).astype(np.uint8)
    values = np.broadcast_to(stripes, (1, 300, 300))
    profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": "uint8", "width": 300, "height": 300}
    profile |= {
        "nodata": nodata,
        "crs": "EPSG:32618",
        "transform": Affine(0.6, 0, 620_000, 0, -0.6, 4_695_000),
    }
    with rasterio.open(tmp_path / "dark.tif", "w", **profile) as dataset:
        dataset.write(values)
    view = open_view(tmp_path / "dark.tif", nodata=(float(nodata),))
    made, wanted = both(view, inside(view), taken)
    assert taken.parts == [True]
    assert made.is_full
    check_same(made, wanted)


def test_reduced_windows_are_left_to_gdal(make_photo: MakePhoto, taken: Taken) -> None:
    view = open_view(make_photo(overviews=()))
    zoom = view.pyramid.native_zoom - 2
    extent = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    view.read(zoom, PixelWindow(extent.x + extent.width // 2, extent.y + extent.height // 2, 20, 20))
    assert taken.parts == [False]


def test_a_value_that_is_not_a_number_is_left_to_gdal(make_photo: MakePhoto, taken: Taken) -> None:
    path = make_photo(dtype="float32", overviews=(), width=256, height=192)
    with rasterio.open(path, "r+") as dataset:
        window = rasterio.windows.Window(dataset.width * 3 // 4, dataset.height * 3 // 4, 1, 1)
        dataset.write(np.full((dataset.count, 1, 1), math.nan, np.float32), window=window)
    view = open_view(path, rescale=(0.0, 65535.0))
    made, wanted = both(view, inside(view), taken)
    assert taken.parts == [False]
    check_same(made, wanted)
