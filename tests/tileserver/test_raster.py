"""Resampling of rasters between zooms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_model import PixelWindow
from tileserver.tiling.raster import Raster, area_average, canvas, difference, paste, upsample

RANDOM = np.random.default_rng(3)


def noise(window: PixelWindow, share_valid: float = 1.0) -> Raster:
    mask = np.where(RANDOM.random((window.height, window.width)) < share_valid, 255, 0).astype(np.uint8)
    rgb = RANDOM.integers(0, 256, (window.height, window.width, 3), dtype=np.uint8)
    return Raster(window, rgb, mask).masked()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_area_average_is_the_rounded_mean(factor: int) -> None:
    raster = noise(PixelWindow(8, 16, 32, 24))
    mean = raster.rgb.reshape(24 // factor, factor, 32 // factor, factor, 3).mean(axis=(1, 3))
    small = area_average(raster, factor)
    assert small.window == PixelWindow(8 // factor, 16 // factor, 32 // factor, 24 // factor)
    assert np.abs(small.rgb - mean).max() <= 0.5


@pytest.mark.parametrize("share_valid", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_area_average_rounds_halves_up_with_any_mask(factor: int, share_valid: float) -> None:
    """Exact to the bit: other bytes would require another RECIPE_VERSION."""
    raster = noise(PixelWindow(0, 0, 32, 16), share_valid).crop(PixelWindow(0, 0, 24, 16))
    valid = (raster.mask != 0).reshape(16 // factor, factor, 24 // factor, factor).astype(np.int64)
    blocks = raster.rgb.reshape(16 // factor, factor, 24 // factor, factor, 3).astype(np.int64)
    count, total = valid.sum(axis=(1, 3)), (blocks * valid[..., None]).sum(axis=(1, 3))
    some = np.maximum(count, 1)[..., None]
    shown = 2 * count >= factor**2
    small = area_average(raster, factor)
    np.testing.assert_array_equal(small.mask, np.where(shown, 255, 0))
    np.testing.assert_array_equal(small.rgb, (2 * total + some) // (2 * some) * shown[..., None])


def test_area_average_ignores_pixels_without_data() -> None:
    raster = noise(PixelWindow(0, 0, 8, 8), 0.6)
    raster.rgb[raster.mask != 0] = 200
    small = area_average(raster, 4)
    assert set(small.rgb[small.mask != 0].ravel()) == {200}
    valid = (raster.mask != 0).reshape(2, 4, 2, 4).mean(axis=(1, 3))
    np.testing.assert_array_equal(small.mask != 0, valid >= 0.5)


@given(st.sampled_from((2, 4, 8)), st.integers(0, 3), st.integers(0, 3))
def test_upsampled_tiles_have_no_seams(factor: int, column: int, row: int) -> None:
    """Tiles cut from one image, each with only its own metatile's margin, agree with the whole."""
    whole = noise(PixelWindow(-4, -4, 40, 40))
    big = upsample(whole, PixelWindow(0, 0, 32 * factor, 32 * factor), factor)
    side = 8 * factor
    window = PixelWindow(column * side, row * side, side, side)
    near = whole.crop(PixelWindow(column * 8 - 4, row * 8 - 4, 16, 16))
    np.testing.assert_array_equal(upsample(near, window, factor).rgb, big.crop(window).rgb)


def test_upsampling_does_not_shift_the_image() -> None:
    raster = canvas(PixelWindow(0, 0, 16, 16))
    raster.mask[:] = 255
    raster.rgb[:, 8:] = 255
    big = upsample(raster, PixelWindow(0, 0, 64, 64), 4)
    assert (big.rgb[:, :28] < 10).all()
    assert (big.rgb[:, 36:] > 245).all()


def test_difference_is_grey_where_nothing_changed() -> None:
    old = noise(PixelWindow(0, 0, 8, 8))
    assert (difference(old, old).rgb == 128).all()
    brighter = Raster(old.window, np.minimum(old.rgb, 200) + np.uint8(5), old.mask)
    base = Raster(old.window, np.minimum(old.rgb, 200), old.mask)
    assert (difference(base, brighter).rgb == 128 + 4 * 5).all()


def test_difference_is_brightness_alone_on_the_photographs_own_pixels() -> None:
    """Detail within a pixel of the photograph, and hue, do not count; what changes its mean does."""
    window = PixelWindow(4, 8, 8, 8)
    old = Raster(window, np.full((8, 8, 3), 100, np.uint8), np.full((8, 8), 255, np.uint8))
    checks = np.where((np.indices((8, 8)).sum(0) % 2)[..., None], 130, 70).astype(np.uint8)
    finer = Raster(window, np.repeat(checks, 3, 2), old.mask)
    assert (difference(old, finer, 2).rgb == 128).all()
    assert set(np.unique(difference(old, finer).rgb)) == {128 - 4 * 30, 128 + 4 * 30}
    hue = Raster(window, np.tile(np.array([100 + 59, 100 - 30, 100], np.uint8), (8, 8, 1)), old.mask)
    assert np.abs(difference(old, hue).rgb.astype(int) - 128).max() <= 1
    spot = old.rgb.copy()
    spot[:2, 2:4] += 10
    seen = difference(old, Raster(window, spot, old.mask), 2).rgb[..., 0]
    assert (seen[:2, 2:4] == 168).all()
    assert (np.delete(seen, (2, 3), 1) == 128).all()
    hole = old.mask.copy()
    hole[0, 2] = 0
    assert difference(old, Raster(window, spot, hole), 2).rgb[0, 3, 0] == 168


def test_paste_and_crop() -> None:
    target = canvas(PixelWindow(10, 10, 20, 20))
    piece = noise(PixelWindow(15, 12, 4, 6))
    paste(target, piece)
    np.testing.assert_array_equal(target.crop(piece.window).rgb, piece.rgb)
    assert np.count_nonzero(target.mask) == 24


def test_blank_takes_no_memory() -> None:
    blank = Raster.blank(PixelWindow(0, 0, 1032, 1032))
    assert blank.is_empty
    assert blank.nbytes < 1000
