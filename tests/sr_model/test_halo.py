import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from sr_model import InputError
from sr_model.halo import dehalo, support_px
from sr_model.photo import PhotoContext

MASKS = [(0.3, 0.7), (1.0, 0.7), (1.0, 1.2), (2.0, 0.7), (2.0, 1.7)]


def photo(side: int = 160, contrast: float = 50, seed: int = 0) -> np.ndarray:
    """float [side, side, 3]: roofs with straight edges in all directions, on textured ground."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    rgb = np.full((side, side, 3), 120.0)
    for _ in range(14):
        cx, cy, angle = random.uniform(0, side), random.uniform(0, side), random.uniform(0, np.pi)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        rgb[(abs(along) < 18) & (abs(across) < 9)] = 120 + contrast * random.uniform(-1, 1, 3)
    rgb += gaussian_filter(random.normal(0, 6, (side, side, 1)), (1, 1, 0))
    return gaussian_filter(rgb, (0.6, 0.6, 0))


def sharpened(rgb: np.ndarray, amount: float, sigma: float) -> np.ndarray:
    return rgb + amount * (rgb - gaussian_filter(rgb, (sigma, sigma, 0), truncate=6))


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("amount", "sigma"), MASKS)
def test_a_known_mask_is_undone(amount, sigma):
    truth = photo(contrast=30)
    masked = sharpened(truth, amount, sigma)
    assert masked.min() > 0
    assert masked.max() < 255
    undone = dehalo(to_bytes(masked), amount, sigma)
    assert np.abs(undone - truth).mean() < 0.4  # as much as two roundings leave
    assert np.abs(undone - truth).max() < 2


@pytest.mark.parametrize(("amount", "sigma"), MASKS)
def test_a_known_mask_is_undone_on_a_grid_of_half_the_pixel(amount, sigma):
    """Where the network works: the mask is then twice as wide."""

    def doubled(rgb):
        return np.asarray(Image.fromarray(to_bytes(rgb)).resize((320, 320), Image.Resampling.BICUBIC))

    truth = photo(contrast=30)
    masked, wanted = doubled(sharpened(truth, amount, sigma)), doubled(truth)
    inner = np.s_[20:-20, 20:-20]
    before = np.abs(masked.astype(float) - wanted)[inner].mean()
    after = np.abs(dehalo(masked, amount, 2 * sigma).astype(float) - wanted)[inner].mean()
    assert after < max(0.5, 0.1 * before)


def test_clipped_whites_do_not_ring():
    """What the mask burnt out is lost; its inverse makes no rim of its own there, for it is positive."""
    masked = to_bytes(sharpened(photo(contrast=130), 2.0, 1.2))
    assert (masked == 255).any()
    undone = dehalo(masked, 2.0, 1.2).astype(int)
    assert undone.min() >= masked.min()
    assert undone.max() <= masked.max()
    assert abs(undone.mean() - masked.mean()) < 0.1


@pytest.mark.parametrize(("amount", "sigma"), [(0.6, 1.2), (1.0, 2.4), (2.0, 3.4), (2.0, 4.8)])
def test_nothing_beyond_the_support_matters(amount, sigma):
    """So that windows whose halo covers it agree."""
    support = support_px(amount, sigma)
    assert support <= 40
    rgb = to_bytes(photo())
    changed = rgb.copy()
    changed[:, : 120 - support] = 0
    difference = np.abs(dehalo(rgb, amount, sigma).astype(int) - dehalo(changed, amount, sigma))
    # A Fourier transform rounds each picture in another way.
    assert difference[:, 120:].max() <= 1
    assert (difference[:, 120:] > 0).mean() < 0.001
    assert difference[:, : 120 - support].max() > 5


def test_means_and_odd_sizes_are_kept():
    rgb = to_bytes(photo())[:117, :93]
    for sigma in (1.0, 3.0):
        undone = dehalo(rgb, 1.0, sigma)
        assert undone.shape == rgb.shape
        assert np.abs(undone.mean((0, 1)) - rgb.mean((0, 1))).max() < 0.5
    assert (dehalo(rgb, 0.0, 1.0) == rgb).all()
    flat = np.full((9, 7, 3), 77, np.uint8)
    assert (dehalo(flat, 2.0, 5.0) == flat).all()


@pytest.mark.parametrize(("amount", "sigma"), [(-0.1, 1), (1, 0), (np.nan, 1), (1, np.inf)])
def test_a_mask_that_cannot_be_is_refused(amount, sigma):
    with pytest.raises(InputError, match="cannot be undone"):
        dehalo(np.zeros((8, 8, 3), np.uint8), amount, sigma)
    with pytest.raises(ValueError, match="cannot be undone"):
        PhotoContext(halo_amount=amount, halo_radius_px=sigma)
