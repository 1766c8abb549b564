"""Borders with the noise of a scanner: plain in means of several pixels, where water and roofs have shades."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from sr_model.measure.regions import CROSS, corners_in, from_edge, ring, without_specks
from sr_model.measure.small_copy import FloatArray, Mask, SmallCopy, deviation, dilated
from sr_model.measure.straight_lines import Outlines, straightness

# All tolerances are in grey levels, as in `borders`. Noise is averaged over squares of so many pixels a side.
_GRAIN_PX: Final = 7
# Standard deviation in corners that are worth a look, and what all but a hundredth of the pixels differ by at most.
_LEAST_GRAIN: Final = 0.25
MOST_GRAIN: Final = 16.0
# What the means may differ by, in levels or as a share of half the noise: water has shades that are longer than grain.
_MOST_SHADE: Final = 1.5
_GRAIN_LEFT: Final = 0.25
# The darkest pixel lies below the mean of a dark border by three or four times its noise.
_FROM_EXTREME: Final = 20.0
# What lies beside such a border differs from it by so much at least, and this share of its outline is straight.
_GRAIN_STEP: Final = 24.0
_GRAIN_STRAIGHT: Final = 0.85
# Holes of so many pixels are noise, too.
SPECK_PX: Final = 6


class GrainyRegion(NamedTuple):
    """Where a border with noise lies in a small copy: its value, a mask, and by how much its pixels differ from it."""

    value: float
    region: Mask
    tolerance: float


def find_grainy(copy: SmallCopy, value: float, level: float, outlines: Outlines) -> GrainyRegion | None:
    """A border near a value with the noise of a scanner, which is independent from pixel to pixel, or nearly so.

    Args:
        copy: the whole photograph.
        value: the darkest or brightest value.
        level: one grey level in values of the file.
        outlines: of a mask.
    """
    if not _has_plain_corners(copy, value, level):
        return None
    # Pixels without data have no part in the means of their neighbours.
    weight = np.maximum(_mean(copy.valid.astype(np.float32)), 1e-6)
    values = np.where(copy.valid[..., None], copy.values, 0).astype(np.float32)
    smooth = _mean(values) / weight[..., None]
    region = from_edge((deviation(smooth, value) <= _FROM_EXTREME * level) & copy.valid, ~copy.valid)
    core = ~dilated(~region, _GRAIN_PX)
    if not core.any():
        return None
    own = float(np.median(smooth[core]))
    shade, noise = deviation(smooth, own), deviation(values, own)
    grain = float(np.percentile(noise[core], 99)) / level
    left = np.percentile(shade[core], 95) / level
    if grain > MOST_GRAIN or left > max(_MOST_SHADE, _GRAIN_LEFT * grain / 2):
        return None
    # Half of the window lies beyond the border's edge there.
    region = from_edge((shade <= 2 * _MOST_SHADE * level) & copy.valid, ~copy.valid)
    tolerance = (grain + 1.5) * level
    region = without_specks(
        ndimage.binary_propagation(
            region, mask=dilated(region, _GRAIN_PX) & (noise <= tolerance) & copy.valid, structure=CROSS
        ),
        SPECK_PX,
    )
    share, pieces = straightness(region, copy.valid, outlines)
    beside = ring(region, copy.valid, 3, 5)
    if not beside.any() or corners_in(region, copy.valid) < 2 or share < _GRAIN_STRAIGHT or not pieces:
        return None
    if float(np.median(noise[beside])) < _GRAIN_STEP * level:
        return None
    return GrainyRegion(own, region, tolerance)


def _has_plain_corners(copy: SmallCopy, value: float, level: float) -> bool:
    """Whether two corners are near a value and vary as noise does: a glance that spares most photographs the rest."""
    rows, columns = np.flatnonzero(copy.valid.any(axis=1)), np.flatnonzero(copy.valid.any(axis=0))
    side, plain = 2 * _GRAIN_PX, 0
    for row in (slice(rows[0], rows[0] + side), slice(max(0, rows[-1] + 1 - side), rows[-1] + 1)):
        for column in (
            slice(columns[0], columns[0] + side),
            slice(max(0, columns[-1] + 1 - side), columns[-1] + 1),
        ):
            patch = copy.values[row, column][copy.valid[row, column]].astype(np.float32)
            if patch.size and _LEAST_GRAIN * level <= patch.std(axis=0).max() <= MOST_GRAIN / 2 * level:
                plain += bool(np.abs(np.median(patch, axis=0) - value).max() <= _FROM_EXTREME * level)
    return plain >= 2


def _mean(values: FloatArray) -> FloatArray:
    """Means of squares of _GRAIN_PX pixels a side, in float32 [height, width] or [height, width, bands]."""
    for axis in (0, 1):
        values = ndimage.uniform_filter1d(values, _GRAIN_PX, axis=axis, mode="nearest")
    return values
