"""Whether a picture was enlarged to its pixel size: what services send beyond the pixels that a photograph has.

The thresholds are from two photographs at 13 sizes, enlarged by nearest neighbours, bilinearly and bicubically, plain
and as JPEG of quality 75 to 95. Enlarged 2 to 4 times, all are told; as they are or smaller, none is taken for
enlarged, and in between, those are that resolve about two of their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import uniform_filter1d

from sr_model.measure import estimate_blur_and_halo

Luminance = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

# Side of the largest pixels that keep all detail, in the picture's own.
_SOFT_PX: Final = 2.0
# Strength of detail in the finest octave as a share of the second, and of the second as a share of the third.
_OCTAVES: Final = (0.41, 0.55)
# Nearest neighbours repeat columns. Differences between columns are summed over so many rows, which may lie askew.
_ROWS: Final = 16
_LEAST_DIFFERENCE: Final = 1.0
# Without loss, half of the differences are none at twice the size; so many are none at all, or nearly none.
_REPEATED: Final = 0.46
_EXACTLY_NONE: Final = 0.15
_NEARLY_NONE: Final = 0.35
# JPEG fills them in: how uneven the differences are then, with fine quality, which leaves many small, and without.
_FINE: Final = 0.2
_UNEVEN: Final = (0.58, 0.48)
_ALONG: Final = 9


def is_enlarged(luminances: Sequence[Luminance]) -> bool:
    """Return whether windows of a picture have no more detail than they would at half their size.

    Args:
        luminances: float32 [h, w] each, 0 to 255; NaN where there is no data.
    """
    if estimate_blur_and_halo(luminances).resolution_px >= _SOFT_PX:
        return True
    whole = [np.where(np.isfinite(one), one, np.nanmean(one)).astype(np.float32) for one in luminances]
    octaves = [found for one in whole if (found := _octaves(one)) is not None]
    if octaves and (np.median(octaves, axis=0) < _OCTAVES).any():
        return True
    differences = [steps for one in whole if (steps := _differences(one)) is not None]
    if not differences:
        return False
    exact, repeated, uneven = np.median(differences, axis=0)
    if exact >= _EXACTLY_NONE:
        return bool(repeated >= _REPEATED)
    return bool(uneven >= _UNEVEN[0 if repeated >= _FINE else 1])


def _octaves(luminance: Luminance) -> tuple[float, float] | None:
    """Deviation of the finest octave as a share of the second, and of that of the third; None without detail."""
    strengths = []
    current = luminance
    for _ in range(3):
        height, width = current.shape[0] // 2 * 2, current.shape[1] // 2 * 2
        if min(height, width) < 4:
            return None
        current = current[:height, :width]
        half = current.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        enlarged = Image.fromarray(half).resize((width, height), Image.Resampling.BICUBIC)
        strengths.append(float((current - np.asarray(enlarged)).std()))
        current = half
    if min(strengths[1:]) <= 0.1:
        return None
    return strengths[0] / strengths[1], strengths[1] / strengths[2]


def _differences(luminance: Luminance) -> FloatArray | None:
    """Shares of differences between neighbouring columns or rows that are none, and nearly none; how uneven they are.

    The lesser of both directions; None where there is nothing to tell.
    """
    found = [one for one in (_along(luminance), _along(luminance.T)) if one is not None]
    return np.min(found, axis=0) if len(found) == 2 else None


def _along(luminance: Luminance) -> FloatArray | None:
    strips = luminance.shape[0] // _ROWS
    if not strips or luminance.shape[1] < 2 * _ALONG:
        return None
    steps = np.abs(np.diff(luminance[: strips * _ROWS].astype(np.float64), axis=1))
    strength: FloatArray = steps.reshape(strips, _ROWS, -1).mean(1)
    mean = strength.mean(1, keepdims=True)
    textured = mean[:, 0] > _LEAST_DIFFERENCE
    if not textured.any():
        return None
    strength, mean = strength[textured], mean[textured]
    smooth = uniform_filter1d(strength, _ALONG, axis=1)
    uneven = np.median(np.abs(strength - smooth).mean(1) / mean[:, 0])
    return np.array([(strength < 1e-6).mean(), (strength < _NEARLY_NONE * mean).mean(), uneven])
