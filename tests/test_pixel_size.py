"""What training calls a photograph's pixel size is what the server calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from conftest import Photo, write_photo
from rasterio.crs import CRS
from rasterio.warp import transform as warp_transform

from sr_model import PixelWindow
from tileserver.photo.source import Source
from training.pairs.grid import common_grid, gsd_at, pixel_at
from training.pairs.photo import Photo as TrainingPhoto

# A place for each CRS, in degrees, and a pixel of half a metre or so in its units.
PLACES = {
    "EPSG:32662": ((10.0, 49.0), 0.5),
    "EPSG:3857": ((10.0, 60.0), 1.0),
    "EPSG:3395": ((10.0, 60.0), 1.0),
    "EPSG:6537": ((-73.0, 40.8), 1.6),
    "EPSG:4326": ((10.0, 49.0), 5e-6),
    "EPSG:32618": ((-73.5, 42.4), 0.5),
}


def photo_in(crs: str, path: Path, scale: float = 1.0) -> Path:
    """A photograph of some 100 m on a side in the CRS."""
    place, side = PLACES[crs]
    origin = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*place)
    pixels = round(200 / scale)
    return write_photo(
        path, Photo(width=pixels, height=pixels, gsd_m=side * scale, crs=crs, origin=origin, overviews=())
    )


@pytest.mark.parametrize("crs", PLACES)
def test_both_measure_a_photograph_alike(crs: str, tmp_path: Path) -> None:
    path = photo_in(crs, tmp_path / "photo.tif")
    info = Source.open(str(path)).info
    with rasterio.open(path) as dataset:
        assert gsd_at(dataset, info.bounds.centre) == pytest.approx(info.pixel.gsd_m, rel=1e-12)


@pytest.mark.parametrize("crs", [crs for crs in PLACES if crs != "EPSG:4326"])
def test_pairs_have_the_sizes_that_the_server_sees(crs: str, tmp_path: Path) -> None:
    new, old = photo_in(crs, tmp_path / "new.tif"), photo_in(crs, tmp_path / "old.tif", scale=2.0)
    grid = common_grid(old, new, None, 64)
    assert grid.gsd_m == pytest.approx(Source.open(str(new)).info.pixel.gsd_m, rel=1e-6)
    assert grid.old_gsd_m == pytest.approx(Source.open(str(old)).info.pixel.gsd_m, rel=1e-6)
    # At the new photograph's own size, chips have its own pixels.
    assert grid.pixel == pytest.approx(PLACES[crs][1], rel=1e-12)


def test_an_old_photograph_in_degrees_is_measured_in_its_own_crs(tmp_path: Path) -> None:
    old = photo_in("EPSG:4326", tmp_path / "old.tif", scale=2.0)
    west, north = PLACES["EPSG:4326"][0]
    origin = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(west, north)
    photo = Photo(width=400, height=400, gsd_m=0.25, crs="EPSG:32632", origin=origin, overviews=())
    new = write_photo(tmp_path / "new.tif", photo)
    grid = common_grid(old, new, None, 64)
    assert grid.old_gsd_m == pytest.approx(Source.open(str(old)).info.pixel.gsd_m, rel=1e-5)


@pytest.mark.parametrize("crs", ["EPSG:32618", "EPSG:3857"])
@pytest.mark.parametrize("factor", [3.0, 0.5])
def test_training_reads_the_pixels_that_the_server_reads(crs: str, factor: float, tmp_path: Path) -> None:
    """With GDAL's own kernel width they differ by 0.33 grey levels at 0.1 m read at 0.3 m."""
    photo = write_photo(tmp_path / "photo.tif", Photo(width=600, height=600, gsd_m=0.1, overviews=()))
    source = Source.open(str(photo))
    size = source.info.pixel.times(factor)
    target, (x, y) = CRS.from_user_input(crs), source.info.bounds.centre
    (x,), (y,) = warp_transform(source.info.crs, target, [x], [y])
    # In Web Mercator a metre on the ground is more than one unit.
    cell = size.gsd_m / pixel_at(target, Affine.scale(1, -1), (x, y)).gsd_m
    transform = Affine(cell, 0, x - 32 * cell, 0, -cell, y + 32 * cell)
    served = source.read(target, transform, PixelWindow(0, 0, 64, 64), size, overviews=False)
    with TrainingPhoto(photo, target) as trained:
        rgb, valid = trained.read(transform, 64)
    source.close()
    assert valid.all()
    assert np.abs(rgb.astype(float) - served.rgb).mean() < 0.02
