"""Blur of a photograph without straight edges, from its power spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.fft import rfft2

from sr_model.measure.edges import Float32Array, FloatArray

_SIDE_PX: Final = 128
# Scenes have power f^-2 before they are blurred (Burton and Moorhead 1987, Field 1987).
_SLOPE: Final = 2.0
_BAND: Final = (0.04, 0.48)
_RINGS: Final = 40
_SIGMAS_PX: Final = np.arange(0.3, 4.001, 0.02)
_FLOORS: Final = np.concatenate([[0.0], np.logspace(-7, 0, 36)])
# Least variance of a square that has any texture, grey levels squared.
_LEAST_VARIANCE: Final = 1.0


def blur_from_spectrum(luminances: Sequence[Float32Array]) -> tuple[float, int]:
    """Sigma of the Gaussian that would give the photograph its spectrum, and how many squares of 128 px tell it.

    The model is f^-2 exp(-(2 pi sigma f)^2) plus a floor of grain. It is rougher than edges are: woods and fields
    have other slopes, and what an unsharp mask raised is taken for sharpness.

    Args:
        luminances: float32 [h, w] each, 0 to 255; NaN where there is no data.

    Returns:
        Pixels and squares; (0.0, 0) where nothing has texture.
    """
    powers = [power for v in luminances for power in _powers(v)]
    if not powers:
        return 0.0, 0
    # The median: one square with a bright roof has as much power as all woods together.
    frequency, power = _rings(np.median(powers, axis=0))
    return _fit(frequency, np.log(np.maximum(power, 1e-9))), len(powers)


def _powers(luminance: Float32Array) -> list[FloatArray]:
    """Return the spectra of squares that are complete and textured, each divided by its variance."""
    taper = np.hanning(_SIDE_PX)
    window = np.outer(taper, taper)
    powers = []
    for y in range(0, luminance.shape[0] - _SIDE_PX + 1, _SIDE_PX):
        for x in range(0, luminance.shape[1] - _SIDE_PX + 1, _SIDE_PX):
            square = luminance[y : y + _SIDE_PX, x : x + _SIDE_PX].astype(np.float64)
            variance = float(square.var())
            if variance > _LEAST_VARIANCE:  # NaN is not
                powers.append(np.abs(rfft2((square - square.mean()) * window)) ** 2 / variance)
    return powers


def _rings(power: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over rings of equal width: their frequencies in cycles per pixel, and power."""
    fy, fx = np.fft.fftfreq(_SIDE_PX)[:, None], np.fft.rfftfreq(_SIDE_PX)[None]
    radius = np.hypot(fy, fx)
    low, high = _BAND
    ring = np.floor((radius - low) / (high - low) * _RINGS).astype(np.intp)
    inside = (ring >= 0) & (ring < _RINGS)
    count = np.bincount(ring[inside], minlength=_RINGS)
    frequency, mean = (
        np.bincount(ring[inside], v[inside], minlength=_RINGS) / count for v in (radius, power)
    )
    return frequency, mean


def _fit(frequency: FloatArray, log_power: FloatArray) -> float:
    """Least squares over the grid of sigmas and floors; the level is free."""
    blurred = np.exp(-((2 * np.pi * _SIGMAS_PX[:, None] * frequency) ** 2)) * frequency**-_SLOPE
    start = frequency[0] ** -_SLOPE
    model = np.log(blurred[:, None, :] + start * _FLOORS[None, :, None] + 1e-12)
    difference = log_power - model
    error = difference.var(axis=2)
    return float(_SIGMAS_PX[np.unravel_index(np.argmin(error), error.shape)[0]])
