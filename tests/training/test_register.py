import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as move
from training_data import make_ground as ground

from training.register import agreed_shifts, correlation_surface, read_shift, smooth_field
from training.residual import residual_shift


def photo(picture: np.ndarray, seed: int) -> np.ndarray:
    noisy = picture + np.random.default_rng(seed).normal(0, 4, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (2.3, -1.6), (-7.5, 4.25)])
def test_a_planted_shift_comes_back_through_blur_and_another_season(dx, dy):
    new = ground(1)
    # The old picture lies (dx, dy) further right and down, is soft, hazy, and of other colours.
    old = gaussian_filter(move(new, (dy, dx, 0), order=3, mode="nearest"), (1.2, 1.2, 0))
    old = 255 - 0.6 * old * (1.0, 0.8, 0.9)
    found = read_shift(correlation_surface(photo(old, 2), photo(new, 3), reach_px=16))
    assert found.dx_px == pytest.approx(dx, abs=0.15)
    assert found.dy_px == pytest.approx(dy, abs=0.15)
    assert found.confidence > 6


def test_other_ground_gives_no_confidence():
    found = read_shift(correlation_surface(photo(ground(1), 2), photo(ground(9), 3), reach_px=16))
    assert found.confidence < 5.5


def test_neighbours_decide_where_one_chip_says_nothing():
    new = ground(4)
    old = move(new, (1.0, 3.0, 0), order=3, mode="nearest")
    good = correlation_surface(photo(old, 1), photo(new, 2), 12)
    flat = correlation_surface(np.full((320, 320, 3), 90, np.uint8), photo(new, 2), 12)
    places = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])
    middle = agreed_shifts(np.stack([good, flat, good]), places)[1]
    assert middle.dx_px == pytest.approx(3, abs=0.2)
    assert middle.dy_px == pytest.approx(1, abs=0.2)


def test_a_field_follows_a_slope_and_is_deaf_to_outliers():
    random = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(0, 2000, 200.0), np.arange(0, 2000, 200.0))
    places = np.column_stack([x.ravel(), y.ravel()])
    shifts = np.column_stack([2 + 0.002 * places[:, 1], -1 + 0.001 * places[:, 0], np.full(len(places), 8.0)])
    shifts[:, :2] += random.normal(0, 0.05, (len(places), 2))
    wrong = random.choice(len(places), 20, replace=False)
    shifts[wrong, :2] = random.uniform(-8, 8, (20, 2))
    centre = smooth_field(places, shifts, np.array([(1000.0, 900.0)]), 400)[0]
    assert (centre.dx_px, centre.dy_px) == pytest.approx((3.8, 0.0), abs=0.1)
    assert centre.warp == pytest.approx((0, 0.002, 0.001, 0), abs=2e-4)
    assert centre.spread_px < 0.2
    far = smooth_field(places, shifts, np.array([(9000.0, 900.0)]), 400)[0]
    assert far.confidence == 0
    assert far.spread_px == np.inf


def test_neighbours_that_contradict_each_other_have_a_wide_spread():
    random = np.random.default_rng(6)
    places = random.uniform(0, 1000, (60, 2))
    shifts = np.column_stack([random.uniform(-8, 8, (60, 2)), np.full(60, 6.0)])
    assert smooth_field(places, shifts, np.array([(500.0, 500.0)]), 400)[0].spread_px > 1.5


def test_the_second_method_measures_a_planted_shift_and_keeps_silent_on_other_ground():
    new = ground(7)
    old = 40 + 0.7 * gaussian_filter(move(new, (-0.8, 1.4, 0), order=3, mode="nearest"), (1, 1, 0))
    assert residual_shift(photo(old, 1), photo(new, 2)) == pytest.approx((1.4, -0.8), abs=0.1)
    assert residual_shift(photo(ground(8), 1), photo(new, 2)) is None
    assert residual_shift(np.full_like(photo(new, 1), 90), np.full_like(photo(new, 1), 90)) is None
