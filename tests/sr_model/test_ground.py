"""Pixels of known size, in projections whose scale is known."""

import math
from functools import partial

import pyproj
import pytest

from sr_model.ground import PixelSize, pixel_size


def to_degrees(crs):
    return partial(pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform)


def measured(crs, place, side):
    """Size of a square pixel at a place, given in degrees."""
    centre = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*place)
    return pixel_size(to_degrees(crs), centre, (side, 0.0), (0.0, -side))


def test_on_the_central_meridian_of_utm_the_scale_is_0_9996():
    size = measured("EPSG:32618", (-75.0, 42.0), 0.5)
    assert (size.x_m, size.y_m) == pytest.approx((0.5 / 0.9996, 0.5 / 0.9996), rel=1e-6)


@pytest.mark.parametrize("latitude", [0.0, 42.0, 60.0])
def test_mercator_shrinks_with_the_cosine(latitude):
    # Web Mercator is conformal on the sphere only: half a percent is what the ellipsoid makes of it.
    assert measured("EPSG:3857", (10.0, latitude), 1.0).gsd_m == pytest.approx(
        math.cos(math.radians(latitude)), rel=7e-3
    )


def test_plate_carree_squeezes_rows_only():
    size = measured("EPSG:32662", (10.0, 60.0), 1.0)
    assert size.x_m == pytest.approx(0.5, rel=0.01)
    assert size.y_m == pytest.approx(1.0, rel=0.01)
    assert size.gsd_m == pytest.approx(math.sqrt(0.5), rel=0.01)


def test_feet_and_degrees_are_measured_in_metres():
    assert measured("EPSG:6537", (-73.0, 40.8), 1.0).gsd_m == pytest.approx(1200 / 3937, rel=1e-3)
    degree = measured("EPSG:4326", (10.0, 0.0), 1e-5)
    assert (degree.x_m, degree.y_m) == pytest.approx((1.113195, 1.105743), rel=1e-4)


def test_a_turned_pixel_is_as_large():
    turned = pixel_size(to_degrees("EPSG:32618"), (5e5, 4.65e6), (0.3, 0.4), (0.4, -0.3))
    plain = pixel_size(to_degrees("EPSG:32618"), (5e5, 4.65e6), (0.5, 0.0), (0.0, -0.5))
    assert turned.gsd_m == pytest.approx(plain.gsd_m, rel=1e-6)


def test_multiples():
    assert PixelSize(2.0, 8.0).gsd_m == 4.0
    assert PixelSize(2.0, 8.0).times(0.5) == PixelSize(1.0, 4.0)
