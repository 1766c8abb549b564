import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as move
from training_data import make_ground as ground

from training.measure.register import agreed_shifts, correlation_surface, fit_field, read_shift, window_places
from training.pairs.residual import residual_shift


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


def peak(dx: float, dy: float, height: float, random: np.random.Generator) -> np.ndarray:
    """A surface of chance, deviation 1, with a peak."""
    rows, columns = np.mgrid[-8:9, -8:9]
    noise = gaussian_filter(random.normal(0, 1, (17, 17)), 1)
    hill = height * np.exp(-0.5 * ((columns - dx) ** 2 + (rows - dy) ** 2) / 1.5**2)
    return (noise / noise.std() + hill).astype(np.float32)


def slope(places: np.ndarray) -> np.ndarray:
    """The planted shifts."""
    return np.column_stack([2 + 0.004 * (places[:, 1] - 900), -1 + 0.002 * (places[:, 0] - 1000)])


def test_a_field_follows_a_slope_and_is_deaf_to_windows_that_show_something_else():
    random = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(0, 2001, 250.0), np.arange(0, 2001, 250.0))
    places = np.column_stack([x.ravel(), y.ravel()])
    wrong = set(random.choice(len(places), 20, replace=False).tolist())
    shifts = slope(places)
    surfaces = np.stack(
        [
            peak(*(random.uniform(-7, 7, 2) if i in wrong else shift), 10, random)
            for i, shift in enumerate(shifts)
        ]
    )
    at = np.array([(1000.0, 900.0)])
    (found,) = fit_field(surfaces, places, np.zeros_like(places), at, 250)
    assert (found.dx_px, found.dy_px) == pytest.approx((2, -1), abs=0.4)
    assert found.warp == pytest.approx((0, 0.004, 0.002, 0), abs=3e-3)
    assert found.confidence > 6
    (far,) = fit_field(surfaces, places, np.zeros_like(places), np.array([(9000.0, 900.0)]), 250)
    assert far.confidence == 0


def test_where_fine_windows_know_nothing_the_shift_stays_what_it_was():
    places = np.array([(x, y) for x in (0.0, 250.0, 500.0) for y in (0.0, 250.0, 500.0)])
    read_at = np.tile([5.0, -3.0], (len(places), 1))
    flat = np.zeros((len(places), 17, 17), np.float32)
    (found,) = fit_field(flat, places, read_at, np.array([(250.0, 250.0)]), 250)
    assert (found.dx_px, found.dy_px) == pytest.approx((5, -3), abs=0.01)
    assert found.warp == pytest.approx((0, 0, 0, 0), abs=1e-4)
    assert found.confidence == 0


def test_chance_gives_no_confidence():
    random = np.random.default_rng(6)
    places = np.array([(x, y) for x in np.arange(0, 2001, 250.0) for y in np.arange(0, 2001, 250.0)])
    surfaces = np.stack([peak(0, 0, 0, random) for _ in places])
    found = fit_field(surfaces, places, np.zeros_like(places), places, 250)
    assert np.median([shift.confidence for shift in found]) < 4.5


def test_chips_that_overlap_share_their_windows():
    alone = window_places(np.array([(250.0, 250.0)]), 125)
    assert sorted(map(tuple, alone)) == [(125, 125), (125, 375), (375, 125), (375, 375)]
    assert len(window_places(np.array([(250.0, 250.0), (500.0, 250.0)]), 125)) == 6


def test_the_second_method_measures_a_planted_shift_and_keeps_silent_on_other_ground():
    new = ground(7)
    old = 40 + 0.7 * gaussian_filter(move(new, (-0.8, 1.4, 0), order=3, mode="nearest"), (1, 1, 0))
    assert residual_shift(photo(old, 1), photo(new, 2)) == pytest.approx((1.4, -0.8), abs=0.1)
    assert residual_shift(photo(ground(8), 1), photo(new, 2)) is None
    assert residual_shift(np.full_like(photo(new, 1), 90), np.full_like(photo(new, 1), 90)) is None
