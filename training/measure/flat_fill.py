"""Ground that a photograph does not show: black, or filled with one colour, where no tag says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
# Below this in all bands, a pixel is black.
_BLACK: Final = 4
# Compression leaves traces in a fill, in grey levels.
_TRACES: Final = 3
# A fill of a known colour is at least this wide; smaller white squares are burnt roofs.
_WIDTH_PX: Final = 17
# Nothing on the ground is of one colour on a square as wide as this.
WIDE_PX: Final = 64
# Samples of a copy along the side of a square at its edge that is the beginning of a collar, if that is wide enough.
_COLLAR_SAMPLES: Final = 16
# Along the side of a window, at which it is looked whether it can be of one colour at all.
_SAMPLES: Final = 8


def black_share(rgb: UInt8Array) -> float:
    """The share of uint8 [H, W, 3] that is black."""
    return float((rgb.max(axis=2) < _BLACK).mean())


def filled_share(rgb: UInt8Array, colours: Sequence[Colour]) -> float:
    """The share of uint8 [H, W, 3] in squares of 17 px of one of these colours, or in squares of 64 px of any one."""
    filled = _constant(rgb, WIDE_PX)
    for colour in colours:
        near = (np.abs(rgb.astype(np.int16) - np.array(colour, np.int16)) <= _TRACES).all(axis=2)
        if near.mean() > 0 and min(near.shape) >= _WIDTH_PX:
            # Outside of the picture, nothing is filled: mirrored, a narrow strip at its edge would be wide enough.
            inside = minimum_filter(near, _WIDTH_PX, mode="constant", cval=False)
            filled |= maximum_filter(inside, _WIDTH_PX, mode="constant", cval=False)
    return float(filled.mean())


def edge_fills(rgb: UInt8Array, least_samples: float = WIDE_PX) -> list[Colour]:
    """Colours of flat squares at the edges of a small copy of a photograph: where its collar begins.

    Args:
        rgb: uint8 [H, W, 3], samples of the whole photograph that were not averaged.
        least_samples: side of the square that tells; no less than 16.
    """
    flat = _constant(rgb, max(_COLLAR_SAMPLES, math.ceil(least_samples)))
    flat[1:-1, 1:-1] = False
    found: list[Colour] = []
    for red, green, blue in np.unique(rgb[flat], axis=0).tolist():
        if not any(max(abs(red - r), abs(green - g), abs(blue - b)) <= _TRACES for r, g, b in found):
            found.append((red, green, blue))
    return found


def _constant(rgb: UInt8Array, width_px: int) -> BoolArray:
    """Bool [H, W]: what lies in squares of one colour that are so wide."""
    height, width = rgb.shape[:2]
    whole = np.zeros((height, width), np.bool_)
    sparse = rgb[:: width_px // _SAMPLES, :: width_px // _SAMPLES]
    if min(height, width) < width_px or not _constant_windows(sparse, _SAMPLES).any():
        return whole
    half, inside = width_px // 2, _constant_windows(rgb, width_px)
    whole[half : half + inside.shape[0], half : half + inside.shape[1]] = inside
    grown: BoolArray = maximum_filter(
        whole, width_px, mode="constant", cval=False, origin=0 if width_px % 2 else -1
    )
    return grown


def _constant_windows(rgb: UInt8Array, width_px: int) -> BoolArray:
    """Bool [H - width + 1, W - width + 1]: which windows of uint8 [H, W, 3] are of one colour."""
    rows, columns = (side - width_px + 1 for side in rgb.shape[:2])
    half = width_px // 2
    inside = np.ones((rows, columns), np.bool_)
    for band in np.moveaxis(rgb, 2, 0):
        least, most = minimum_filter(band, width_px), maximum_filter(band, width_px)
        part = slice(half, half + rows), slice(half, half + columns)
        inside &= (most[part] - least[part]) < _TRACES
        if not inside.any():
            break
    return inside
