"""Fine detail on ground that is smooth: grain and texture if as strong as the later photo's, a weave if stronger."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.measure.colour_map import Float32Array, Picture, luminance

# Smooth ground: its slope at 2 px (Sobel's, so eight times grey levels per pixel) is less, and so is that of all that
# lies within 4 px. Fine detail is the part that a Gaussian of 1.5 px removes; contrast is that of the window at 4 px.
_SMOOTH_PX: Final = 2.0
_LEVEL: Final = 10.0
_INSIDE_PX: Final = 4
_FINE_PX: Final = 1.5
_COARSE_PX: Final = 4.0
_LEAST_PIXELS: Final = 800


def weave(picture: Picture, old: Picture, new: Picture) -> float | None:
    """Fine detail on smooth ground, relative to the later photo's: 1 is natural, 0 airbrushed, above 1 a weave.

    Each picture's detail counts relative to its own contrast.

    Args:
        picture, old, new: uint8 or float32 [H, W, 3] in grey levels, on one grid.

    Returns:
        None where hardly any ground is smooth in both photographs.
    """
    level = _is_level(old) & _is_level(new)
    smooth = ndimage.binary_erosion(level, iterations=_INSIDE_PX)
    if smooth.sum() <= _LEAST_PIXELS:
        return None
    return _fine_detail(picture, smooth) / (_fine_detail(new, smooth) + 1e-6)


def _is_level(rgb: Picture) -> npt.NDArray[np.bool_]:
    smoothed = ndimage.gaussian_filter(luminance(rgb), _SMOOTH_PX)
    slope: Float32Array = np.hypot(ndimage.sobel(smoothed, 0), ndimage.sobel(smoothed, 1))
    return np.asarray(slope < _LEVEL)


def _fine_detail(rgb: Picture, smooth: npt.NDArray[np.bool_]) -> float:
    grey = luminance(rgb)
    fine = grey - ndimage.gaussian_filter(grey, _FINE_PX)
    contrast = ndimage.gaussian_filter(grey, _COARSE_PX).std()
    return float(fine[smooth].std() / (contrast + 1e-3))
