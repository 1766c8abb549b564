"""Estimation of the map of colours that an aerial photograph needs, from a small copy of it.

The estimate is conservative: colours within the range of sharp modern photographs (those in
tests/sr_model/test_colour_estimate.py) are kept; beyond it, each correction grows smoothly from nothing, and is
bounded. A photograph of water, snow, woods or fields alone says nothing about haze or a cast, and keeps its colours.

All statistics are integer histograms, so that every process and machine finds the same map.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.colour_balance import neutral_balance
from sr_model.colour_map import ColourMap, UInt8Array
from sr_model.colour_statistics import PhotoStatistics, histogram, photo_statistics, quantile, rise
from sr_model.errors import InputError

# Grey levels: black points above the first begin to be haze, from the second on they are nothing else.
_HAZE: Final = (59.0, 74.0)
# The same for white points and fading, where blacks are pale as well: dark woods have no white.
_FADING: Final = (175.0, 140.0)
_PALE: Final = (40.0, 59.0)
# Black and white points that a hazy or faded photograph is given.
_BLACK: Final = 40.0
_WHITE: Final = 200.0
# Where bright ground prevails (snow, sand) there is no black, haze or not: the median in grey levels, and as a share of
# the way from black to white.
_BRIGHT, _PREVAILS = (195.0, 165.0), (0.75, 0.62)
# From black to white point: one kind of surface alone (water, a field) spans less.
_SPAN: Final = (45.0, 75.0)
# Haze takes light from whites, less than it adds to blacks.
_HAZE_WHITE: Final = 0.5
_MOST_GAIN: Final = 1.8
# Shadows of a hazy photograph have the colour of the haze, and a little of their own.
_HAZE_TINT: Final = 0.5
_MOST_TINT: Final = 10.0
# Share of the brightness lost or won by levels that gamma takes back, up to the brightness of modern photographs.
_KEPT_MEDIAN: Final = 0.8
_MEDIAN: Final = 118.0
_GAMMA: Final = (0.75, 1.25)
# Mean chroma below which more is given, and which is not exceeded by photographs that had less.
_CHROMA: Final = (10.0, 26.0)
_MORE_VIVID: Final = 1.2
_CHROMA_GAIN: Final = (0.75, 1.3)
# Less chroma than this is that of a black and white photo, with what a scanner or JPEG added.
_COLOURLESS: Final = (2.0, 5.0)
# A map that changes nothing by more than this is dropped.
_UNSEEN_LEVELS: Final = 2
_UNSEEN_CHROMA: Final = 0.03
_FEWEST_SAMPLES: Final = 256


def estimate_colour_map(
    rgb: UInt8Array, mask: npt.NDArray[np.bool_] | UInt8Array | None = None, *, grey: bool = False
) -> ColourMap:
    """Find the map that a photograph needs; often the identity.

    Args:
        rgb: uint8 [n, 3] or [height, width, 3], a copy of the whole photograph, best of about 1024 px a side.
        mask: of its shape without the last axis, 0 or false where there is no data or a collar; all data if None.
        grey: the photograph has one band, three times: the map keeps it grey to the bit.

    Returns:
        The map at full strength.

    Raises:
        InputError: shapes or dtypes do not fit.
    """
    samples = _valid(rgb, mask)
    if len(samples) < _FEWEST_SAMPLES:
        return ColourMap.identity()
    before = photo_statistics(samples)
    grey = grey or before.chroma < _COLOURLESS[0]
    found = _levels(before, samples, grey=grey)
    if not grey:
        found = replace(found, balance=neutral_balance(through_curves(found, samples)))
    found = replace(found, gamma=_gamma(before.median, found))
    if not grey:
        after = photo_statistics(through_curves(found, samples))
        found = replace(found, chroma=_chroma(before, after))
    return ColourMap.identity() if _is_unseen(found) else found


def through_curves(colours: ColourMap, samples: UInt8Array) -> UInt8Array:
    """Samples uint8 [n, 3] through the curves of a map, without its chroma."""
    return np.stack([colours.curves[band][samples[:, band]] for band in range(3)], axis=1)


def _valid(rgb: UInt8Array, mask: npt.NDArray[np.bool_] | UInt8Array | None) -> UInt8Array:
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or rgb.shape[-1] != 3:
        raise InputError(
            f"expected uint8 [samples, 3] or [height, width, 3], got {rgb.dtype} {list(rgb.shape)}"
        )
    if mask is None:
        return rgb.reshape(-1, 3)
    if mask.shape != rgb.shape[:-1]:
        raise InputError(f"picture {list(rgb.shape)} and mask {list(mask.shape)} differ in size")
    samples: UInt8Array = rgb[mask != 0]
    return samples


def _levels(found: PhotoStatistics, samples: UInt8Array, *, grey: bool) -> ColourMap:
    """Black and white points, moved as far as a photograph is hazy or faded."""
    blacks = [quantile(histogram(samples[:, band]), 5) for band in range(3)]
    # Haze and fading raise all bands; deep blue shadows do not show either.
    pale, span = min(blacks), found.white - found.black
    certain = rise(span, *_SPAN)
    dark = rise(found.median, *_BRIGHT) * rise((found.median - found.black) / max(span, 1), *_PREVAILS)
    haze = certain * dark * rise(pale, *_HAZE)
    fading = certain * rise(pale, *_PALE) * rise(found.white, *_FADING)
    down = haze * max(0.0, found.black - _BLACK)
    up = max(fading, _HAZE_WHITE * haze) * max(0.0, _WHITE - found.white)
    if not down + up:
        return ColourMap.identity()
    share = min(1.0, (_MOST_GAIN - 1) * span / (down + up))
    black_out, white_out = round(found.black - share * down, 1), round(found.white + share * up, 1)
    tints = [
        0.0 if grey else _HAZE_TINT * haze * _bounded(black - found.black, _MOST_TINT) for black in blacks
    ]
    red, green, blue = (max(black_out, round(found.black + tint, 1)) for tint in tints)
    white = min(white_out, round(found.white, 1))
    return ColourMap((red, green, blue), (white, white, white), black_out, white_out)


def _bounded(value: float, most: float) -> float:
    return min(most, max(-most, value))


def _gamma(median: float, levels: ColourMap) -> float:
    """The exponent that takes most of a change of brightness back."""
    curve = levels.curves[1]
    moved = float(np.interp(median, np.arange(256), curve))
    kept = median if moved > median else max(moved, min(median, _MEDIAN))
    wanted = moved + _KEPT_MEDIAN * (kept - moved)
    if not (1 < moved < 254 and 1 < wanted < 254):
        return 1.0
    return round(min(max(math.log(wanted / 255) / math.log(moved / 255), _GAMMA[0]), _GAMMA[1]), 3)


def _chroma(before: PhotoStatistics, after: PhotoStatistics) -> float:
    """The factor from the chroma after the curves towards that of modern photographs."""
    least, most = _CHROMA[0], max(_MORE_VIVID * before.chroma, _CHROMA[1])
    if after.chroma > most:
        return round(max(most / after.chroma, _CHROMA_GAIN[0]), 3)
    if not 0 < after.chroma < least:
        return 1.0
    more = min(least / after.chroma, _CHROMA_GAIN[1]) - 1
    certain = rise(before.white - before.black, *_SPAN) * rise(before.chroma, *_COLOURLESS)
    return round(1 + more * certain, 3)


def _is_unseen(colours: ColourMap) -> bool:
    change = np.abs(colours.curves.astype(np.int16) - np.arange(256, dtype=np.int16)).max()
    return int(change) <= _UNSEEN_LEVELS and abs(colours.chroma - 1) <= _UNSEEN_CHROMA
