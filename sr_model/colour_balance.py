"""White balance from neutral surfaces: roofs, roads, concrete; without them, no change.

Neutral surfaces under a cast have one chromaticity from dark asphalt to white roofs. Soil, dry grass and leaves do not:
their brightest pixels have another one than less bright ones. So we look for a chromaticity near grey on which the
brightest, the bright and the medium pixels agree. (Agreement over brightness is what grey world and white patch lack,
Buchsbaum 1980 and Land 1977: a field alone would turn grey.)
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sr_model.colour_map import LUMA_256, Triple, UInt8Array, luma
from sr_model.colour_statistics import histogram, quantile, rise

Counts = npt.NDArray[np.int64]

# Chromaticities are (R - Y) / Y and (B - Y) / Y in hundredths, from -REACH to REACH.
_REACH: Final = 40
_SIDE: Final = 2 * _REACH + 1
# Neutral surfaces are looked for so near to grey, and pixels belong to a chromaticity so near to it.
_FARTHEST: Final = 15
_NEAR: Final = 3
# Classes of brightness in thousandths of the pixels: middling, bright, brightest.
_CLASSES: Final = ((400, 800), (800, 970), (970, 998))

# Evidence: nothing is certain at the first value, everything at the second.
# Shares of each class that have to be neutral.
_SHARES: Final = ((0.04, 0.10), (0.2, 0.35), (0.2, 0.35))
# Share of bright pixels that are bluer than the candidate by more than _BLUER: hardly anything is bluer than neutral.
_BLUER: Final = 6
_BLUER_SHARE, _BLUER_SHARE_YELLOW = (0.10, 0.05), (0.05, 0.02)
# Share of pixels that are something else: the colour of one thing alone cannot be told from a cast.
_OTHER: Final = 9
_OTHER_SHARE: Final = (0.2, 0.3)
# How far apart the chromaticities lie that the middling and the brightest pixels alone would choose, and how many grey
# levels between the darkest and the brightest 2 % of the neutral surfaces. A cast towards yellow may be soil or dry
# grass, which pale where they are bright: to be taken for asphalt and white roofs, they must agree better and differ
# in brightness as much as those.
_APART, _APART_YELLOW = (9.0, 5.0), (5.0, 2.5)
_SPAN, _SPAN_YELLOW = (50.0, 80.0), (100.0, 125.0)

# Casts of modern photographs, in hundredths, are left alone, and no more than _MOST is corrected; less than _UNSEEN is
# not worth a map.
_DEAD: Final = (3.5, 7.0)
_UNSEEN: Final = 0.7
_MOST: Final = 10.0


class Neutrals(NamedTuple):
    """The best candidate for neutral surfaces.

    Attributes:
        red, blue: their (R - Y) / Y and (B - Y) / Y, hundredths.
        certainty: from 0 (nothing neutral, or no way to tell) to 1.
    """

    red: float
    blue: float
    certainty: float


def neutral_balance(samples: UInt8Array) -> Triple:
    """Colour of neutral surfaces relative to their luma, as far as it is certain and should be corrected.

    Args:
        samples: uint8 [n, 3], haze and fading undone.

    Returns:
        Red, green and blue, each 1 where nothing is to be corrected.
    """
    found = find_neutrals(samples)
    cast = math.hypot(found.red, found.blue)
    share = found.certainty * rise(cast, *_DEAD)
    share *= min(1.0, _MOST / max(cast, 1e-9))
    if share * cast < _UNSEEN:
        return 1.0, 1.0, 1.0
    red, blue = 1 + share * found.red / 100, 1 + share * found.blue / 100
    green = (256 - LUMA_256[0] * red - LUMA_256[2] * blue) / LUMA_256[1]
    return round(red, 4), round(green, 4), round(blue, 4)


def find_neutrals(samples: UInt8Array) -> Neutrals:
    """Look for the chromaticity near grey that the classes of brightness have in common; uint8 [n, 3]."""
    grey = luma(samples)
    counts = histogram(grey)
    edges = [(quantile(counts, low), quantile(counts, high)) for low, high in _CLASSES]
    red, blue = _chromaticity(samples[:, 0], grey), _chromaticity(samples[:, 2], grey)
    cells = (red + _REACH) * _SIDE + blue + _REACH
    classes = [_histogram(cells[(grey > low) & (grey <= high)]) for low, high in edges]
    if not all(part.sum() for part in classes):
        return Neutrals(0, 0, 0)
    shares = [_near(part) / part.sum() for part in classes]
    allowed = _disc(_FARTHEST)
    candidate = _best(np.where(allowed, shares[0] * shares[1] * shares[2], 0))
    own = [_best(np.where(allowed, share, 0)) for share in (shares[0], shares[2])]
    place = candidate[0] + _REACH, candidate[1] + _REACH
    bright, yellow = classes[1] + classes[2], candidate[1] < 0
    distance = (red - candidate[0]) ** 2 + (blue - candidate[1]) ** 2
    evidence = [rise(float(share[place]), *limits) for share, limits in zip(shares, _SHARES, strict=True)]
    evidence += [
        rise(
            math.hypot(own[0][0] - own[1][0], own[0][1] - own[1][1]), *(_APART_YELLOW if yellow else _APART)
        ),
        rise(_bluer_share(bright, candidate[1]), *(_BLUER_SHARE_YELLOW if yellow else _BLUER_SHARE)),
        rise(int((distance > _OTHER**2).sum()) / len(samples), *_OTHER_SHARE),
        rise(_span(grey[distance <= _NEAR**2]), *(_SPAN_YELLOW if yellow else _SPAN)),
    ]
    return Neutrals(*_centre(bright, candidate), min(evidence))


def _chromaticity(band: UInt8Array, grey: UInt8Array) -> Counts:
    """(band - grey) / grey in hundredths, rounded, cut off at the reach of the histogram."""
    level = np.maximum(grey.astype(np.int64), 1)
    rounded: Counts = (200 * (band - level) + level) // (2 * level)
    return rounded.clip(-_REACH, _REACH)


def _histogram(cells: Counts) -> Counts:
    return np.bincount(cells, minlength=_SIDE * _SIDE).astype(np.int64).reshape(_SIDE, _SIDE)


def _disc(radius: int) -> npt.NDArray[np.bool_]:
    """Select the chromaticities within `radius` of grey."""
    axis = np.arange(-_REACH, _REACH + 1)
    inside: npt.NDArray[np.bool_] = axis[:, None] ** 2 + axis[None, :] ** 2 <= radius * radius
    return inside


def _near(counts: Counts) -> Counts:
    """Count the pixels near each chromaticity."""
    padded = np.pad(counts, _NEAR)
    total = np.zeros_like(counts)
    for down in range(2 * _NEAR + 1):
        for across in range(2 * _NEAR + 1):
            if (down - _NEAR) ** 2 + (across - _NEAR) ** 2 <= _NEAR**2:
                total += padded[down : down + _SIDE, across : across + _SIDE]
    return total


def _bluer_share(bright: Counts, blue: int) -> float:
    first = blue + _REACH + _BLUER + 1
    return int(bright[:, first:].sum()) / int(bright.sum())


def _span(grey: UInt8Array) -> float:
    counts = histogram(grey)
    return quantile(counts, 980) - quantile(counts, 20)


def _best(score: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Chromaticity of the highest score."""
    row, column = divmod(int(score.argmax()), _SIDE)
    return row - _REACH, column - _REACH


def _centre(bright: Counts, candidate: tuple[int, int]) -> tuple[float, float]:
    """Mean chromaticity of the pixels near the candidate."""
    axis = np.arange(-_REACH, _REACH + 1)
    near = (axis[:, None] - candidate[0]) ** 2 + (axis[None, :] - candidate[1]) ** 2 <= _NEAR**2
    weights = np.where(near, bright, 0)
    total = max(1, int(weights.sum()))
    return int((weights.sum(1) * axis).sum()) / total, int((weights.sum(0) * axis).sum()) / total
