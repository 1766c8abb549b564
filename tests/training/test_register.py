import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as move
from training_data import make_ground as ground

from training.register import correlation_surface, read_shift, shift_field


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
    field = shift_field({(0, 0): good, (1, 0): flat, (2, 0): good})
    assert field[1, 0].dx_px == pytest.approx(3, abs=0.2)
    assert field[1, 0].dy_px == pytest.approx(1, abs=0.2)
