"""What shift is left in a finished pair, measured by another method than the one that registered it.

Registration correlates the edges of whole windows through their spectra. Here small patches around corners of the new
picture are looked for in the old one, each on its own, by normalised cross-correlation in the plane of the image; the
patches that agree decide. Where too few agree, as in a forest of another season, there is no answer.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.feature import corner_harris, corner_peaks, match_template

from training.register import smooth_grey

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

_PATCH_PX: Final = 16
_REACH_PX: Final = 6
_CORNERS: Final = 80
# A patch that looks less like its place is not believed.
_ALIKE: Final = 0.6
_AGREE_PX: Final = 1.0
_LEAST_AGREEING: Final = 6
_LEAST_SHARE: Final = 0.4


def residual_shift(old: UInt8Array, new: UInt8Array, sigma_px: float = 1.0) -> tuple[float, float] | None:
    """How far the old picture lies right and down of the new, in pixels; None where patches do not agree.

    Args:
        old, new: uint8 [H, W, 3] on one grid.
        sigma_px: blur that makes both equally soft.
    """
    luma_old, luma_new = smooth_grey(old, sigma_px), smooth_grey(new, sigma_px)
    border = _PATCH_PX + _REACH_PX
    corners = corner_peaks(
        corner_harris(luma_new, sigma=2), min_distance=8, num_peaks=_CORNERS, exclude_border=border
    )
    found = [move for y, x in corners if (move := _patch_shift(luma_old, luma_new, int(y), int(x)))]
    if len(found) < _LEAST_AGREEING:
        return None
    moves = np.array(found)
    apart = np.linalg.norm(moves[:, None] - moves[None], axis=2)
    agreeing = moves[apart[(apart < _AGREE_PX).sum(axis=1).argmax()] < _AGREE_PX]
    if len(agreeing) < max(_LEAST_AGREEING, _LEAST_SHARE * len(moves)):
        return None
    dx, dy = np.median(agreeing, axis=0).tolist()
    return dx, dy


def _patch_shift(old: Float32Array, new: Float32Array, y: int, x: int) -> tuple[float, float] | None:
    patch = new[y - _PATCH_PX : y + _PATCH_PX + 1, x - _PATCH_PX : x + _PATCH_PX + 1]
    reach = _PATCH_PX + _REACH_PX
    around = old[y - reach : y + reach + 1, x - reach : x + reach + 1]
    if patch.std() < 1 or around.std() < 1:
        return None
    # Its sign is left out: in another season a dark field is bright.
    alike = np.abs(match_template(around, patch))
    row, column = (int(i) for i in np.unravel_index(int(alike.argmax()), alike.shape))
    last = 2 * _REACH_PX
    if alike[row, column] < _ALIKE or row in (0, last) or column in (0, last):
        return None
    return (
        column - _REACH_PX + _vertex(alike[row, column - 1 : column + 2]),
        row - _REACH_PX + _vertex(alike[row - 1 : row + 2, column]),
    )


def _vertex(three: npt.NDArray[np.floating]) -> float:
    before, at, after = three.tolist()
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else 0.5 * (before - after) / curvature
