"""Pictures with straight edges whose blur, unsharp mask and grain are known."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

_FINER = 6
_MARGIN_PX = 24
# Of the mean over a pixel's own square.
_PIXEL_VARIANCE = 1 / 12


@lru_cache(maxsize=12)
def roofs(seed: int, blur_px: float, size: int = 288, whites: bool = False) -> np.ndarray:
    """Flat rectangles at any angle, float64 [size + 48, size + 48], to be cut by `photographed`.

    Args:
        seed: another one is another picture.
        blur_px: sigma of the whole blur, the pixel's own square (0.29 px) included.
        size: side of what is left after `photographed`.
        whites: whether a third of the roofs is nearly white, so that a halo burns out.
    """
    random = np.random.default_rng(seed)
    side = (size + 2 * _MARGIN_PX) * _FINER
    fine = np.full((side, side), 110.0, np.float32)
    for _ in range(size * size // 2200):
        centre, half = random.uniform(0, side, 2), random.uniform(10, 40, 2) * _FINER
        angle, level = random.uniform(0, np.pi), random.uniform(40, 200)
        if whites and random.random() < 0.35:
            level = random.uniform(235, 255)
        _draw(fine, centre, half, angle, level)
    fine = gaussian_filter(fine, np.sqrt(blur_px**2 - _PIXEL_VARIANCE) * _FINER)
    count = size + 2 * _MARGIN_PX
    return fine.reshape(count, _FINER, count, _FINER).mean((1, 3), dtype=np.float64)


def _draw(picture, centre, half, angle, level):
    reach = np.hypot(*half)
    top, left = (max(int(c - reach), 0) for c in centre)
    bottom, right = (int(c + reach) + 1 for c in centre)
    part = picture[top:bottom, left:right]
    y, x = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    part[(abs(along) < half[0]) & (abs(across) < half[1])] = level


def photographed(
    ground: np.ndarray,
    *,
    amount: float = 0.0,
    radius_px: float = 1.0,
    grain: float = 1.5,
    seed: int = 0,
) -> np.ndarray:
    """Grain, then the unsharp mask x + amount (x - G x), then bytes: float32, of whole grey levels."""
    grainy = ground + np.random.default_rng(seed).normal(0, grain, ground.shape)
    sharpened = grainy + amount * (grainy - gaussian_filter(grainy, radius_px, truncate=6))
    inner = sharpened[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
    return np.rint(np.clip(inner, 0, 255)).astype(np.float32)
