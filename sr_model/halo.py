"""The inverse of an unsharp mask: many old orthophotos have one from their scanner, as rims along edges.

The mask made x + k (x - G x) of a photograph x, G being a Gaussian. Its inverse is a positive kernel of unit sum, a
share of each pixel and a smooth surrounding: it keeps means, and no value leaves the range of those around it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from sr_model.boxes import block_means, enlarge_columns, enlarge_rows
from sr_model.errors import InputError
from sr_model.pixels import Float32Array, UInt8Array

# From this deviation on, the smooth part of the inverse can be computed from means over 2 x 2 pixels.
_COARSE_FROM_PX: Final = 1.4
# Share of the weight of the smooth part that may lie beyond its support.
_BEYOND: Final = 0.002
# Side of the grid on which kernels are made, in cells; larger than any support.
_GRID: Final = 256


def dehalo(rgb: UInt8Array, amount: float, sigma_px: float) -> UInt8Array:
    """Undo an unsharp mask.

    Args:
        rgb: uint8 [H, W, 3].
        amount: of the mask, as a factor; half of the measured amount looks better than all of it.
        sigma_px: deviation of its Gaussian in pixels of `rgb`.

    Returns:
        uint8 [H, W, 3], mirrored at its borders. A pixel depends on those within `support_px` of it.

    Raises:
        InputError: the amount is negative or the deviation not positive.
    """
    if not (0 <= amount < np.inf and 0 < sigma_px < np.inf):
        raise InputError(f"an unsharp mask of amount {amount} and deviation {sigma_px} px cannot be undone")
    share = np.float32(amount / (1 + amount))
    if not share:
        return rgb
    side = _cell_px(sigma_px)
    undone = np.empty_like(rgb)
    for band in range(rgb.shape[-1]):
        values = rgb[..., band].astype(np.float32)
        change = _surroundings(values, amount, sigma_px, side)
        change -= values
        change *= share
        values += change
        values += np.float32(0.5)
        undone[..., band] = values.clip(0, 255, out=values)
    return undone


def support_px(amount: float, sigma_px: float) -> int:
    """Return the largest distance between a pixel and another that affects it in `dehalo`, in pixels."""
    side = _cell_px(sigma_px)
    # A cell holds its other pixel, and enlarging looks at one cell more.
    return len(_kernel(amount, sigma_px, side)) // 2 * side + 2 * (side - 1)


def _cell_px(sigma_px: float) -> int:
    return 2 if sigma_px >= _COARSE_FROM_PX else 1


def _surroundings(values: Float32Array, amount: float, sigma_px: float, side: int) -> Float32Array:
    """The smooth part of the inverse: float32 [H, W] to the same."""
    height, width = values.shape
    even = np.pad(values, [(0, length % side) for length in values.shape], mode="edge")
    cells = block_means(even, side)
    radius = len(_kernel(amount, sigma_px, side)) // 2
    around = np.pad(cells, radius, mode="symmetric")
    rows_around, columns_around = around.shape
    shape = fft.next_fast_len(rows_around, real=True), fft.next_fast_len(columns_around, real=True)
    spectrum = fft.rfft2(around, shape)
    spectrum *= _spectrum(shape, amount, sigma_px, side)
    smooth: Float32Array = fft.irfft2(spectrum, shape, overwrite_x=True)
    rows, columns = cells.shape
    smooth = smooth[2 * radius : 2 * radius + rows, 2 * radius : 2 * radius + columns]
    if side > 1:
        smooth = enlarge_rows(enlarge_columns(smooth, side), side, 0, rows)
    return smooth[:height, :width]


@lru_cache(maxsize=8)
def _spectrum(shape: tuple[int, int], amount: float, sigma_px: float, side: int) -> npt.NDArray[Any]:
    """Return the spectrum of the kernel, whose centre lies its radius from the corner."""
    return fft.rfft2(_kernel(amount, sigma_px, side).astype(np.float32), shape)


@lru_cache(maxsize=32)
def _kernel(amount: float, sigma_px: float, side: int) -> npt.NDArray[np.float64]:
    """Weights of the smooth part, float64 [2 r + 1, 2 r + 1] of unit sum, in cells of `side` pixels."""
    frequency = np.fft.fftfreq(_GRID) / side  # cycles per pixel
    squared = frequency[:, None] ** 2 + frequency**2
    gauss = np.exp(-2 * np.pi**2 * sigma_px**2 * squared)
    share = amount / (1 + amount)
    response = (1 - share) * gauss / (1 - share * gauss)
    if side == 2:
        # Gives back the loss of block means and of bilinear enlargement.
        loss = np.cos(np.pi * frequency) ** 4
        response /= loss[:, None] * loss
    weights: npt.NDArray[np.float64] = np.fft.fftshift(np.fft.ifft2(response).real)
    total = 0.0
    radius = 0
    while abs(1 - total) > _BEYOND and radius < _GRID // 2 - 1:
        radius += 1
        inner = slice(_GRID // 2 - radius, _GRID // 2 + radius + 1)
        total = float(weights[inner, inner].sum())
    return weights[inner, inner] / total
