"""Two photographs of ground of all three kinds, and candidates beside them."""

from pathlib import Path

import numpy as np
from made_roofs import photographed, roofs
from scipy.ndimage import gaussian_filter
from training_data import write_photo

SIDE = 1024
PLAIN = (200, 30, 90)


def ground() -> np.ndarray:
    """Roofs in the north-west, woods in the north-east, fields in the south, uint8 [1024, 1024, 3]."""
    random = np.random.default_rng(0)
    picture = np.empty((SIDE, SIDE))
    half = SIDE // 2
    picture[:half, :half] = photographed(roofs(1, 0.6, size=half))
    picture[:half, half:] = 90 + 90 * gaussian_filter(random.normal(size=(half, half)), 1.3)
    picture[half:] = 120 + 8 * gaussian_filter(random.normal(size=(half, SIDE)), 20) / 0.014
    return np.clip(picture[..., None] + (5, 0, -5), 10, 250).astype(np.uint8)


def write_ground(folder: Path) -> dict[str, Path]:
    """The new photo at 1 ft, the old one at 2 ft, a candidate of one colour and a grey one at 2 ft."""
    new = ground()
    old = gaussian_filter(new.astype(float), (1.5, 1.5, 0))[::2, ::2]
    plain = np.broadcast_to(np.array(PLAIN, np.uint8), new.shape)
    grey = old.mean(2, keepdims=True)
    return {
        "old": write_photo(folder / "old.tif", old.astype(np.uint8), 2.0),
        "new": write_photo(folder / "new.tif", new, 1.0),
        "plain": write_photo(folder / "plain.tif", plain, 1.0),
        "grey": write_photo(folder / "grey.tif", grey.astype(np.uint8), 2.0),
    }
