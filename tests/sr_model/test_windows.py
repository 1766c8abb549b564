import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_model import PixelWindow, aligned_window, crop_slices, tile_windows

windows = st.builds(
    PixelWindow, st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(1, 900), st.integers(1, 900)
)
strides = st.sampled_from([1, 8, 16, 32])


@given(windows, st.integers(0, 200), strides)
def test_aligned_windows_start_and_end_at_the_stride_and_hold_the_halo(inner, halo, stride):
    outer = aligned_window(inner, halo, stride)
    assert outer.x % stride == outer.y % stride == outer.width % stride == outer.height % stride == 0
    assert outer.x <= inner.x - halo
    assert outer.bottom >= inner.bottom + halo
    # No more than needed on any side.
    assert inner.x - halo - outer.x < stride
    assert outer.right - inner.right - halo < stride


@given(windows, st.integers(0, 100), strides)
def test_cropping_an_outer_window_gives_the_inner_one(inner, halo, stride):
    outer = aligned_window(inner, halo, stride)
    columns = np.broadcast_to(np.arange(outer.x, outer.right), (outer.height, outer.width))
    rows, cols = crop_slices(outer, inner)
    cropped = columns[rows, cols]
    assert cropped.shape == (inner.height, inner.width)
    assert cropped[0, 0] == inner.x
    assert cropped[0, -1] == inner.right - 1


def test_a_crop_that_is_not_inside_is_refused():
    with pytest.raises(ValueError, match="not inside"):
        crop_slices(PixelWindow(0, 0, 32, 32), PixelWindow(-1, 0, 4, 4))


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        PixelWindow(0, 0, 0, 4)


@given(windows, st.sampled_from([128, 500, 512]), st.sampled_from([0, 64]))
def test_blocks_cover_every_pixel_once(inner, size, halo):
    seen = np.zeros((inner.height, inner.width), int)
    for core, outer in tile_windows(inner, size, halo, 16):
        seen[crop_slices(inner, core)] += 1
        assert outer == aligned_window(core, halo, 16)
    assert (seen == 1).all()
