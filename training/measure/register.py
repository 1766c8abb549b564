"""Local registration of two photographs of the same ground, taken years apart.

One window alone is a poor witness where the season differs: a bare forest and a green one correlate by chance. So
every window gives its whole correlation surface, and neighbours decide: what they agree on adds up, chance does not.
First the surfaces around a place are summed and a coarse shift is read from the sum (`agreed_shifts`). Then smaller
windows are read where that says, and a plane of shifts is fitted to their surfaces (`fit_field`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, minimum_filter, shift, sobel
from scipy.spatial import KDTree

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Complex64Array = npt.NDArray[np.complex64]

# Edges are compared after this blur: the old photo has none finer, and JPEG blocks are finer.
EDGE_SIGMA_PX: Final = 1.5
# Blur of the surface: phase correlation's peak is sharper than the blurred edges justify.
_SURFACE_SIGMA_PX: Final = 1.0
# From height on a surface to logarithm of a probability: a peak by chance, of height 3, then loses to its surroundings.
_TRUST: Final = 1.0
# How far from the plane windows look for their place, round by round.
_REACHES_PX: Final = (4.0, 3.0, 2.0, 1.5, 1.0)
_LEAST_VARIANCE: Final = 0.1
# How far slopes may lie from those of the shifts read at, one standard deviation.
_USUAL_SLOPE: Final = 0.01
_HOLD: Final = 0.05


@dataclass(frozen=True)
class LocalShift:
    """Shift of the old picture from the new: reading it at `window + (dx_px, dy_px)` puts it in place.

    Attributes:
        dx_px, dy_px: right and down.
        confidence: height of the correlation peak in standard deviations of the surface around it.
        warp: how the shift grows per pixel: d(dx)/dx, d(dx)/dy, d(dy)/dx, d(dy)/dy.
    """

    dx_px: float = 0.0
    dy_px: float = 0.0
    confidence: float = 0.0
    warp: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def smooth_grey(rgb: UInt8Array, sigma_px: float) -> Float32Array:
    """Mean of the bands under a Gaussian: uint8 [H, W, 3] to float32 [H, W]."""
    grey: Float32Array = gaussian_filter(rgb.astype(np.float32).mean(axis=2), sigma_px)
    return grey


def edges(rgb: UInt8Array, sigma_px: float = EDGE_SIGMA_PX, valid: BoolArray | None = None) -> Complex64Array:
    """Gradients with their direction doubled, blind to colour, brightness and which side is bright.

    Strength alone is blind too, but two woods have edges everywhere: their directions tell one place from the next.

    Args:
        rgb: uint8 [H, W, 3].
        sigma_px: blur before.
        valid: bool [H, W]; by default all is. The border of the data does not count as an edge.

    Returns:
        complex64 [H, W]: the gradient's magnitude at twice its angle.
    """
    grey = smooth_grey(rgb, sigma_px)
    gradient = sobel(grey, axis=1) + 1j * sobel(grey, axis=0)
    doubled = gradient**2 / np.maximum(np.abs(gradient), 1e-3)
    if valid is not None and not valid.all():
        doubled *= minimum_filter(valid, 2 * math.ceil(3 * sigma_px) + 3, mode="nearest")
    result: Complex64Array = doubled.astype(np.complex64)
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
        float32 [2 reach + 1, 2 reach + 1]; its centre stands for no shift, its columns are dx, its rows dy.
        Source: Kuglin and Hines 1975.
    """
    height, width = old.shape[:2]
    taper = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    first, second = (fft.fft2(edges(rgb, sigma_px, valid) * taper) for rgb in (old, new))
    spectrum = first * np.conj(second)
    # Half the whitening: full phase correlation counts frequencies that hold only grain as much as edges.
    spectrum /= np.sqrt(np.abs(spectrum) + 1e-6)
    surface = fft.fftshift(fft.ifft2(spectrum).real)
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


def window_places(centres: Float64Array, offset_px: float) -> Float64Array:
    """Four places around each centre, those that coincide but once: float64 [N, 2]."""
    around = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)]) * offset_px
    places = np.round((centres[:, None] + around).reshape(-1, 2))
    unique: Float64Array = np.unique(places, axis=0)
    return unique


def fit_field(
    surfaces: Float32Array, places: Float64Array, read_at: Float64Array, at: Float64Array, scale_px: float
) -> list[LocalShift]:
    """The shift and its slope at each of some places: the plane that the surfaces of the windows around agree on.

    Plane and surfaces are brought together by turns, as in expectation maximisation: each surface says where near
    the plane its window lies and how certain that is, and a plane is laid through what they say. A window that knows
    nothing has no say; where none knows anything, the shift stays that at which the windows were read.

    Args:
        surfaces: float32 [N, S, S], see `correlation_surface`.
        places: float64 [N, 2], x and y of the windows' centres, in pixels.
        read_at: float64 [N, 2], the shift at which each window was read, where its surface has its centre.
        at: float64 [M, 2], where shifts are wanted.
        scale_px: standard deviation of the weights.

    Returns:
        M shifts. Their confidence is that of the sum of the surfaces along the plane.
    """
    near = KDTree(places).query_ball_point(at, r=2 * scale_px)
    return [
        _fit_plane(surfaces[indexes], (places[indexes] - place) / scale_px, read_at[indexes], scale_px)
        if indexes
        else LocalShift()
        for place, indexes in zip(at, near, strict=True)
    ]


def _fit_plane(
    surfaces: Float32Array, apart: Float64Array, read_at: Float64Array, scale_px: float
) -> LocalShift:
    """`apart` is in units of the scale."""
    base = np.exp(-0.5 * (apart**2).sum(axis=1))
    design = np.column_stack([np.ones(len(apart)), apart])
    ridge = np.diag([1e-9, 0.02, 0.02]) * float(base.sum())
    plane = np.linalg.solve(design.T @ (base[:, None] * design) + ridge, design.T @ (base[:, None] * read_at))
    # First all windows together, for what none tells alone may be plain in their sum.
    summed = _sum_along(surfaces, base, design @ plane - read_at) / np.sqrt((base**2).sum())
    plane[0] += _look_near(summed[None].astype(np.float32), np.zeros((1, 2)), _REACHES_PX[0])[0][0]
    # The centre moves only as far as windows are certain, and slopes stay near those of the shifts read at.
    prior = np.diag([_HOLD, *[(_USUAL_SLOPE * scale_px) ** -2] * 2])
    slopes = plane[1:]
    for reach_px in _REACHES_PX:
        seen, certainty = _look_near(surfaces, design @ plane - read_at, reach_px)
        weight = base * certainty
        normal = design.T @ (weight[:, None] * design) + prior
        held = prior @ np.vstack([plane[:1], slopes])
        plane = np.linalg.solve(normal, design.T @ (weight[:, None] * (seen + read_at)) + held)
    summed = _sum_along(surfaces, base, design @ plane - read_at)
    (dx, dy), (xx, yx), (xy, yy) = plane.tolist()
    warp = (xx / scale_px, xy / scale_px, yx / scale_px, yy / scale_px)
    return LocalShift(dx, dy, _height(summed), warp)


def _sum_along(surfaces: Float32Array, weights: Float64Array, moves: Float64Array) -> Float32Array:
    """Weighted sum of surfaces, each moved so that its point `moves` (dx, dy) comes to the centre."""
    total = np.zeros(surfaces.shape[1:], np.float32)
    for surface, weight, (dx, dy) in zip(surfaces, weights, moves, strict=True):
        # Beyond a surface nothing is known: its mean, which is 0.
        total += np.float32(weight) * shift(surface, (-dy, -dx), order=1, cval=0)
    return total


def _look_near(
    surfaces: Float32Array, at: Float64Array, reach_px: float
) -> tuple[Float64Array, Float64Array]:
    """Find the shifts of windows near `at`: float64 [N, 2], and their certainty: 1 / variance, [N].

    A surface counts as logarithm of a probability; a Gaussian of `reach_px` around `at` is taken in before and out
    after, so that a flat surface is certain of nothing.
    """
    reach = surfaces.shape[1] // 2
    steps = np.arange(-reach, reach + 1.0)
    prior = [-0.5 * ((steps - at[:, [axis]]) / reach_px) ** 2 for axis in (0, 1)]
    log = _TRUST * surfaces + prior[0][:, None, :] + prior[1][:, :, None]
    chance = np.exp(log - log.max(axis=(1, 2), keepdims=True))
    chance /= chance.sum(axis=(1, 2), keepdims=True)
    marginals = chance.sum(axis=1), chance.sum(axis=2)
    means = np.stack([marginal @ steps for marginal in marginals], axis=1)
    variance = sum(
        (marginal * (steps - means[:, [axis]]) ** 2).sum(axis=1) for axis, marginal in enumerate(marginals)
    )
    variance = np.maximum(variance / 2, _LEAST_VARIANCE)
    certainty = np.maximum(1 / variance - 1 / reach_px**2, 1e-6)
    seen = (means / variance[:, None] - at / reach_px**2) / certainty[:, None]
    return np.where(certainty[:, None] > 1e-3, seen, at), certainty


def _height(surface: Float32Array) -> float:
    """Return the height of the centre in standard deviations of the surface around it."""
    reach = surface.shape[0] // 2
    around = np.ones(surface.shape, bool)
    around[reach - 4 : reach + 5, reach - 4 : reach + 5] = False
    centre = float(surface[reach - 1 : reach + 2, reach - 1 : reach + 2].max())
    return (centre - float(surface[around].mean())) / (float(surface[around].std()) or 1.0)
