"""Local registration of two photographs of the same ground, taken years apart.

One window alone is a poor witness where the season differs: a bare forest and a green one correlate by chance. So
every window gives its whole correlation surface, and a shift is read from the sum of the surfaces around it: what
neighbours agree on adds up, chance does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, sobel

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

# Edges are compared after this blur: the old photo has none finer, and JPEG blocks are finer.
_EDGE_SIGMA_PX: Final = 1.5
# Of the surface; phase correlation's peak is sharper than what the blurred edges can tell.
_SURFACE_SIGMA_PX: Final = 1.0


@dataclass(frozen=True)
class Shift:
    """How far the old picture lies from the new: reading it at `window + (dx_px, dy_px)` puts it in place.

    `confidence` is the height of the correlation peak in standard deviations of the surface around it; chance
    gives 3 to 4.
    """

    dx_px: float
    dy_px: float
    confidence: float


def edges(rgb: UInt8Array) -> Float32Array:
    """Gradient magnitude, blind to colour and brightness: uint8 [H, W, 3] to float32 [H, W], mean 0, deviation 1."""
    grey = gaussian_filter(rgb.astype(np.float32).mean(axis=2), _EDGE_SIGMA_PX)
    # The root keeps a few very bright roofs from deciding alone.
    magnitude = np.sqrt(np.hypot(sobel(grey, axis=0), sobel(grey, axis=1)))
    deviation = float(magnitude.std())
    result: Float32Array = (magnitude - magnitude.mean()) / np.float32(deviation if deviation > 0 else 1.0)
    return result


def correlation(first: Float32Array, second: Float32Array) -> float:
    """Pearson's correlation of two arrays; 0 where one is flat."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def correlation_surface(old: UInt8Array, new: UInt8Array, reach_px: int) -> Float32Array:
    """Phase correlation of the edges for every whole shift up to `reach_px`.

    Args:
        old, new: uint8 [H, W, 3] on one grid, larger than twice the reach.
        reach_px: longest shift of interest.

    Returns:
        float32 [2 reach + 1, 2 reach + 1]; its centre is no shift, its columns are dx, its rows dy, of `Shift`.
        Source: Kuglin and Hines 1975.
    """
    height, width = old.shape[:2]
    taper = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    spectrum = fft.rfft2(edges(old) * taper) * np.conj(fft.rfft2(edges(new) * taper))
    # Half the whitening: full phase correlation counts frequencies that hold only grain as much as edges.
    spectrum /= np.sqrt(np.abs(spectrum) + 1e-6)
    surface = fft.fftshift(fft.irfft2(spectrum, s=(height, width)))
    row, column = height // 2, width // 2
    centre = surface[row - reach_px : row + reach_px + 1, column - reach_px : column + reach_px + 1]
    smoothed: Float32Array = gaussian_filter(centre.astype(np.float32), _SURFACE_SIGMA_PX)
    deviation = float(smoothed.std())
    standard: Float32Array = (smoothed - smoothed.mean()) / np.float32(deviation if deviation > 0 else 1.0)
    return standard


def read_shift(surface: Float32Array) -> Shift:
    """The highest peak of a surface, to a fraction of a pixel by a parabola through its neighbours."""
    reach = surface.shape[0] // 2
    row, column = (int(i) for i in np.unravel_index(int(surface.argmax()), surface.shape))
    around = np.ones(surface.shape, bool)
    around[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5] = False
    deviation = float(surface[around].std()) or 1.0
    confidence = (float(surface[row, column]) - float(surface[around].mean())) / deviation
    dy = row - reach + _parabola(surface[:, column], row)
    dx = column - reach + _parabola(surface[row], column)
    return Shift(dx, dy, confidence)


def _parabola(line: Float32Array, peak: int) -> float:
    if peak in (0, len(line) - 1):
        return 0.0
    before, at, after = (float(value) for value in line[peak - 1 : peak + 2])
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else 0.5 * (before - after) / curvature


def shift_field(
    surfaces: dict[tuple[int, int], Float32Array], radius: int = 2
) -> dict[tuple[int, int], Shift]:
    """A shift per chip from the summed surfaces of its neighbourhood, near ones counting more.

    Args:
        surfaces: by (column, row) of the chip.
        radius: neighbourhood in chips.
    """
    steps = range(-radius, radius + 1)
    field = {}
    for column, row in surfaces:
        near = [
            surfaces[key] * np.float32(np.exp(-0.5 * (dx * dx + dy * dy)))
            for dy in steps
            for dx in steps
            if (key := (column + dx, row + dy)) in surfaces
        ]
        field[column, row] = read_shift(np.sum(near, axis=0))
    return field
