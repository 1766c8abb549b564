"""The residual shift of a finished pair, measured by another method than the one that registered it.

Registration correlates the directions of edges through their spectra. Here the brightness of small patches is compared
in the plane of the image, for every whole shift up to a few pixels: the square of their correlation coefficient, so
that a field which was dark and is bright now counts as the same. Where the mean of it over all patches is highest lies
the old picture. How certain that is tells the bootstrap: the chip's blocks are drawn again and again with
replacement (Efron 1979), and where the answer then jumps about, there is none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from training.measure.register import smooth_grey

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

REACH_PX: Final = 5
_PATCH_PX: Final = 17
_BLOCKS: Final = 6
_DRAWS: Final = 64
# An answer that is less certain is none.
_MOST_ERROR_PX: Final = 1.0
# Variance in grey levels squared; patches of less contrast are grain.
_GRAIN: Final = 4.0


def residual_shift(old: UInt8Array, new: UInt8Array, sigma_px: float = 1.5) -> tuple[float, float] | None:
    """Return the shift of the old picture right and down of the new, in pixels; None if it cannot be measured.

    Args:
        old, new: uint8 [H, W, 3] on one grid, at least 64 px.
        sigma_px: blur that makes both equally soft.
    """
    blocks = _alike(smooth_grey(old, sigma_px), smooth_grey(new, sigma_px))
    (found,) = _peaks(blocks.sum(axis=0, keepdims=True))
    count = len(blocks)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _DRAWS)
    again = _peaks(np.tensordot(draws, blocks, 1))
    error_px = float(np.sqrt(((again - found) ** 2).sum(axis=1).mean()))
    if error_px > _MOST_ERROR_PX or np.abs(found).max() >= REACH_PX:
        return None
    dx, dy = found.tolist()
    return dx, dy


def _alike(old: Float32Array, new: Float32Array) -> Float64Array:
    """Squared correlation of patches, summed in blocks, for every shift: float64 [blocks, dy, dx]."""
    height, width = old.shape
    reach, half = REACH_PX, _PATCH_PX // 2
    border = reach + half
    (mean_old, variance_old), (mean_new, variance_new) = _moments(old), _moments(new)
    inner = slice(border, height - border), slice(border, width - border)
    inside = new[reach : height - reach, reach : width - reach]
    rows, columns = (
        np.linspace(0, side - 2 * border, _BLOCKS + 1).astype(int)[:-1] for side in (height, width)
    )
    result = np.empty((_BLOCKS**2, 2 * reach + 1, 2 * reach + 1))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            moved = old[reach + dy : height - reach + dy, reach + dx : width - reach + dx]
            product = uniform_filter(moved * inside, _PATCH_PX)[half:-half, half:-half]
            at = (
                slice(border + dy, height - border + dy),
                slice(border + dx, width - border + dx),
            )
            covariance = product - mean_old[at] * mean_new[inner]
            squared = covariance**2 / ((variance_old[at] + _GRAIN) * (variance_new[inner] + _GRAIN))
            sums = np.add.reduceat(np.add.reduceat(squared, rows, axis=0), columns, axis=1)
            result[:, dy + reach, dx + reach] = sums.ravel()
    return result


def _moments(grey: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Mean and variance in patches."""
    mean = uniform_filter(grey, _PATCH_PX)
    return mean, np.maximum(uniform_filter(grey * grey, _PATCH_PX) - mean * mean, 0)


def _peaks(surfaces: Float64Array) -> Float64Array:
    """dx, dy of the highest peak of each surface [N, S, S], to a fraction by parabolas: float64 [N, 2]."""
    count, side, _ = surfaces.shape
    rows, columns = np.divmod(surfaces.reshape(count, -1).argmax(axis=1), side)
    every = np.arange(count)

    def vertex(lines: Float64Array, peaks: npt.NDArray[np.intp]) -> Float64Array:
        inner = np.clip(peaks, 1, side - 2)
        before, at, after = (lines[every, inner + step] for step in (-1, 0, 1))
        curvature = np.minimum(before - 2 * at + after, -1e-12)
        fraction = np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)
        place: Float64Array = np.where(peaks == inner, peaks + fraction, peaks) - side // 2
        return place

    return np.stack([vertex(surfaces[every, rows], columns), vertex(surfaces[every, :, columns], rows)], 1)
