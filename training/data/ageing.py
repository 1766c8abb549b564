"""The ageing of one photograph, as it was measured: a sharp picture of the same ground made to look as that one does.

`training.data.degrade` ages as old photographs in general may be; this ages as one of them is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.Image import Resampling
from scipy.ndimage import gaussian_filter

from training.data.degrade import Float32Array, UInt8Array, age, compress, grain, resize

# How much blur and grain of a photograph vary from place to place, as factors.
_BLUR_VARIES: Final = (0.85, 1.15)
_GRAIN_VARIES: Final = (0.7, 1.3)
# Chance that it was stored with loss.
_STORED: Final = 0.5

Rows = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Ageing:
    """How one old photograph differs from a sharp one of the same ground; pixels are those of the sharp one.

    Attributes:
        ratio: the old photograph's pixel over the sharp one's; 1 or more.
        blur_px: deviation of the Gaussian that softens the sharp one as much, besides the larger pixel.
        halo_amount, halo_radius_px: the old one's unsharp mask, the radius in its own pixels.
        grain: its grain, in grey levels, at its own pixels.
        colours: rows of the affine map [3, 4] from the sharp one's red, green and blue, and 1, to the old one's, all
            from 0 to 1.
    """

    ratio: float
    blur_px: float
    halo_amount: float
    halo_radius_px: float
    grain: float
    colours: Rows = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))

    def __call__(self, rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        """Age a sharp picture; the result lies exactly on the original's grid.

        Args:
            rgb: uint8 [H, W, 3].
            rng: every draw comes from it.

        Returns:
            uint8 [H, W, 3].
        """
        picture: Float32Array = rgb.astype(np.float32) / np.float32(255)
        map_of_colours = np.asarray(self.colours, np.float32)
        picture = picture @ map_of_colours[:, :3].T + map_of_colours[:, 3]
        sigma = self.blur_px * float(rng.uniform(*_BLUR_VARIES))
        height, width = picture.shape[:2]
        small = max(round(width / self.ratio), 1), max(round(height / self.ratio), 1)
        # A larger pixel is the mean of what lies in it.
        scanned = resize(gaussian_filter(picture, (sigma, sigma, 0)), small, Resampling.BOX)
        if self.halo_amount:
            radius = self.halo_radius_px
            scanned = scanned + np.float32(self.halo_amount) * (
                scanned - gaussian_filter(scanned, (radius, radius, 0))
            )
        strength = self.grain / 255 * float(rng.uniform(*_GRAIN_VARIES))
        scanned = scanned + grain(scanned.shape[:2], strength, rng)
        stored = compress((np.clip(scanned, 0, 1) * 255 + 0.5).astype(np.uint8), rng, _STORED)
        aged = resize(stored.astype(np.float32), (width, height), Resampling.BICUBIC)
        return (np.clip(aged, 0, 255) + 0.5).astype(np.uint8)


def aged(rgb: npt.NDArray[np.uint8], rng: np.random.Generator, ageing: Ageing | None) -> UInt8Array:
    """Age as was measured, or as old photographs in general may be."""
    return ageing(rgb, rng) if ageing is not None else age(rgb, rng)
