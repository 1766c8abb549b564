"""Arithmetic of windows, compared with sets of pixels where windows are small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_model import PixelWindow, aligned_window, crop_slices

places, sides = st.integers(-5000, 5000), st.integers(1, 900)
windows = st.builds(PixelWindow, places, places, sides, sides)
small_windows = st.builds(
    PixelWindow, st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 12), st.integers(1, 12)
)
strides = st.sampled_from([1, 8, 16, 32])


def pixels(window):
    """Every pixel of a window, as (column, row)."""
    return {(x, y) for x in range(window.x, window.right) for y in range(window.y, window.bottom)}


@given(windows)
def test_a_window_is_the_one_between_its_edges(window):
    assert PixelWindow.between(window.x, window.y, window.right, window.bottom) == window


@given(small_windows)
def test_area_counts_pixels(window):
    assert window.area_px == len(pixels(window))


@given(windows, st.integers(0, 300))
def test_shrinking_takes_back_what_growing_gave(window, px):
    grown = window.grown(px)
    assert (window.x - grown.x, window.y - grown.y) == (px, px)
    assert (grown.right - window.right, grown.bottom - window.bottom) == (px, px)
    assert grown.grown(-px) == window


def test_a_window_that_shrinks_to_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        PixelWindow(0, 0, 8, 100).grown(-4)


@given(small_windows, st.integers(-9, 9), st.integers(-9, 9))
def test_shifting_moves_every_pixel(window, dx, dy):
    assert pixels(window.shifted(dx, dy)) == {(x + dx, y + dy) for x, y in pixels(window)}


@given(windows, st.integers(1, 600))
def test_aligned_is_the_smallest_window_around_on_multiples(window, multiple):
    outer = window.aligned(multiple)
    assert outer.x % multiple == outer.y % multiple == outer.width % multiple == outer.height % multiple == 0
    assert 0 <= window.x - outer.x < multiple
    assert 0 <= window.y - outer.y < multiple
    assert 0 <= outer.right - window.right < multiple
    assert 0 <= outer.bottom - window.bottom < multiple
    assert outer.aligned(multiple) == outer


@given(small_windows, st.integers(1, 5))
def test_scaling_up_cuts_every_pixel_into_squares(window, factor):
    finer = window.scaled_up(factor)
    assert {(x // factor, y // factor) for x, y in pixels(finer)} == pixels(window)
    assert finer.area_px == window.area_px * factor**2
    assert finer.scaled_down(factor) == window


@pytest.mark.parametrize("window", [(1, 0, 4, 4), (0, 1, 4, 4), (0, 0, 3, 4), (0, 0, 4, 3)])
def test_half_pixels_are_refused(window):
    with pytest.raises(ValueError, match="multiples of 2"):
        PixelWindow(*window).scaled_down(2)


@given(small_windows, st.integers(1, 7), st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_parts_hold_every_pixel_once_and_cross_no_multiple(window, size, origin):
    parts = list(window.split(size, origin))
    assert sum(part.area_px for part in parts) == window.area_px
    assert set().union(*map(pixels, parts)) == pixels(window)
    for part in parts:
        squares = {((x - origin[0]) // size, (y - origin[1]) // size) for x, y in pixels(part)}
        assert len(squares) == 1
    # Row by row, as files are written.
    assert parts == sorted(parts, key=lambda part: (part.y, part.x))


@given(windows, st.sampled_from([128, 500, 512]))
def test_a_part_grows_to_the_square_that_it_was_cut_from(window, size):
    squares = [part.aligned(size) for part in window.split(size)]
    assert all((square.width, square.height) == (size, size) for square in squares)
    assert squares == list(window.aligned(size).split(size))


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
