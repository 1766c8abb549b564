"""Local registration of two photographs of the same ground, taken years apart.

One window alone is a poor witness where the season differs: a bare forest and a green one correlate by chance. So
neighbours decide, twice. First, every window gives its whole correlation surface, and a coarse shift is read from the
sum of the surfaces around it: what neighbours agree on adds up, chance does not. Then smaller windows, read where the
coarse shift says, give fine shifts, and a plane through those around a chip, deaf to outliers, is the chip's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, minimum_filter, sobel
from scipy.spatial import KDTree

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

# Edges are compared after this blur: the old photo has none finer, and JPEG blocks are finer.
EDGE_SIGMA_PX: Final = 1.5
# Of the surface; phase correlation's peak is sharper than what the blurred edges can tell.
_SURFACE_SIGMA_PX: Final = 1.0
# Peaks by chance are about this high, and say nothing about the shift.
_CHANCE: Final = 3.0
# Tukey's biweight gives no weight beyond 4.685 deviations; a deviation below this is noise of the reading.
_TUKEY: Final = 4.685
_LEAST_DEVIATION_PX: Final = 0.15
_ROUNDS: Final = 6


@dataclass(frozen=True)
class LocalShift:
    """How far the old picture lies from the new: reading it at `window + (dx_px, dy_px)` puts it in place.

    Attributes:
        dx_px, dy_px: right and down.
        confidence: height of the correlation peak in standard deviations of the surface around it; chance gives 3
            to 4.
        warp: how the shift grows per pixel: d(dx)/dx, d(dx)/dy, d(dy)/dx, d(dy)/dy.
        spread_px: how far the neighbours' shifts lie from their common plane.
    """

    dx_px: float = 0.0
    dy_px: float = 0.0
    confidence: float = 0.0
    warp: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    spread_px: float = 0.0


def smooth_grey(rgb: UInt8Array, sigma_px: float) -> Float32Array:
    """Mean of the bands under a Gaussian: uint8 [H, W, 3] to float32 [H, W]."""
    grey: Float32Array = gaussian_filter(rgb.astype(np.float32).mean(axis=2), sigma_px)
    return grey


def edges(rgb: UInt8Array, sigma_px: float = EDGE_SIGMA_PX, valid: BoolArray | None = None) -> Float32Array:
    """Gradient magnitude, blind to colour and brightness.

    Args:
        rgb: uint8 [H, W, 3].
        sigma_px: blur before.
        valid: bool [H, W]; by default all is. The border of the data is no edge.

    Returns:
        float32 [H, W], mean 0, deviation 1.
    """
    grey = smooth_grey(rgb, sigma_px)
    # The root keeps a few very bright roofs from deciding alone.
    magnitude = np.sqrt(np.hypot(sobel(grey, axis=0), sobel(grey, axis=1)))
    if valid is not None and not valid.all():
        inner = minimum_filter(valid, 2 * math.ceil(3 * sigma_px) + 3, mode="nearest")
        magnitude = np.where(inner, magnitude, magnitude[inner].mean() if inner.any() else 0)
    deviation = float(magnitude.std())
    result: Float32Array = (magnitude - magnitude.mean()) / np.float32(deviation if deviation > 0 else 1.0)
    return result


def correlation_surface(
    old: UInt8Array,
    new: UInt8Array,
    reach_px: int,
    sigma_px: float = EDGE_SIGMA_PX,
    valid: BoolArray | None = None,
) -> Float32Array:
    """Phase correlation of the edges for every whole shift up to `reach_px`.

    Args:
        old, new: uint8 [H, W, 3] on one grid, larger than twice the reach.
        reach_px: longest shift of interest.
        sigma_px: blur before edges are taken.
        valid: bool [H, W], where both show something; by default everywhere.

    Returns:
        float32 [2 reach + 1, 2 reach + 1]; its centre is no shift, its columns are dx, its rows dy.
        Source: Kuglin and Hines 1975.
    """
    height, width = old.shape[:2]
    taper = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    first, second = (fft.rfft2(edges(rgb, sigma_px, valid) * taper) for rgb in (old, new))
    spectrum = first * np.conj(second)
    # Half the whitening: full phase correlation counts frequencies that hold only grain as much as edges.
    spectrum /= np.sqrt(np.abs(spectrum) + 1e-6)
    surface = fft.fftshift(fft.irfft2(spectrum, s=(height, width)))
    row, column = height // 2, width // 2
    centre = surface[row - reach_px : row + reach_px + 1, column - reach_px : column + reach_px + 1]
    smoothed: Float32Array = gaussian_filter(centre.astype(np.float32), _SURFACE_SIGMA_PX)
    deviation = float(smoothed.std())
    standard: Float32Array = (smoothed - smoothed.mean()) / np.float32(deviation if deviation > 0 else 1.0)
    return standard


def read_shift(surface: Float32Array) -> LocalShift:
    """The highest peak of a surface, to a fraction of a pixel by a parabola through its neighbours."""
    reach = surface.shape[0] // 2
    row, column = (int(i) for i in np.unravel_index(int(surface.argmax()), surface.shape))
    around = np.ones(surface.shape, bool)
    around[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5] = False
    deviation = float(surface[around].std()) or 1.0
    confidence = (float(surface[row, column]) - float(surface[around].mean())) / deviation
    dy = row - reach + _parabola(surface[:, column], row)
    dx = column - reach + _parabola(surface[row], column)
    return LocalShift(dx, dy, confidence)


def _parabola(line: Float32Array, peak: int) -> float:
    if peak in (0, len(line) - 1):
        return 0.0
    before, at, after = (float(value) for value in line[peak - 1 : peak + 2])
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else 0.5 * (before - after) / curvature


def agreed_shifts(surfaces: Float32Array, places: Float64Array) -> list[LocalShift]:
    """A coarse shift per place from the summed surfaces of its neighbourhood, near ones counting more.

    Args:
        surfaces: float32 [N, S, S], see `correlation_surface`.
        places: float64 [N, 2], in units of the neighbourhood's radius (one standard deviation of the weights).
    """
    near = KDTree(places).query_ball_point(places, r=2.9)
    shifts = []
    for place, indexes in zip(places, near, strict=True):
        apart = ((places[indexes] - place) ** 2).sum(axis=1)
        shifts.append(read_shift(np.tensordot(np.exp(-0.5 * apart), surfaces[indexes], 1).astype(np.float32)))
    return shifts


def smooth_field(
    places: Float64Array, shifts: Float64Array, at: Float64Array, scale_px: float
) -> list[LocalShift]:
    """The shift at each of some places: a plane through the shifts measured around it, deaf to outliers.

    Args:
        places: float64 [N, 2], x and y in pixels, where shifts were measured.
        shifts: float64 [N, 3]: dx, dy, confidence.
        at: float64 [M, 2], where they are wanted.
        scale_px: standard deviation of the weights.

    Returns:
        M shifts. Their confidence is the mean of the neighbours', those that disagree counting as none.
    """
    near = KDTree(places).query_ball_point(at, r=2 * scale_px)
    return [
        _plane((places[indexes] - place) / scale_px, shifts[indexes], scale_px)
        if indexes
        else LocalShift(spread_px=np.inf)
        for place, indexes in zip(at, near, strict=True)
    ]


def _plane(apart: Float64Array, shifts: Float64Array, scale_px: float) -> LocalShift:
    """Iteratively reweighted least squares with Tukey's biweight; `apart` in units of the scale."""
    base = np.exp(-0.5 * (apart**2).sum(axis=1))
    prior = base * np.clip(shifts[:, 2] - _CHANCE, 1e-3, 10)
    moves = shifts[:, :2]
    design = np.column_stack([np.ones(len(apart)), apart])
    # A weighted median is a start that outliers cannot pull.
    plane = np.vstack([[_median(moves[:, axis], prior) for axis in (0, 1)], np.zeros((2, 2))])
    robust = np.ones(len(apart))
    for _ in range(_ROUNDS):
        error = np.hypot(*(moves - design @ plane).T)
        deviation = max(1.2 * _median(error, prior), _LEAST_DEVIATION_PX)
        robust = np.clip(1 - (error / (_TUKEY * deviation)) ** 2, 0, None) ** 2
        weight = prior * robust
        # The ridge keeps the slope at zero where neighbours lie on a line, or there are none.
        ridge = np.diag([0.0, 1.0, 1.0]) * 0.02 * max(float(weight.sum()), 1e-9)
        normal = design.T @ (weight[:, None] * design) + ridge + np.eye(3) * 1e-12
        plane = np.linalg.solve(normal, design.T @ (weight[:, None] * moves))
    error = np.hypot(*(moves - design @ plane).T)
    spread = _median(error, prior)
    confidence = float((base * robust * shifts[:, 2]).sum() / base.sum())
    (dx, dy), (xx, yx), (xy, yy) = plane.tolist()
    warp = (xx / scale_px, xy / scale_px, yx / scale_px, yy / scale_px)
    return LocalShift(dx, dy, confidence, warp, spread)


def _median(values: Float64Array, weights: Float64Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
