"""Integer statistics of a photograph's colours: the same on every machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sr_model.colour_map import UInt8Array, luma

Counts = npt.NDArray[np.int64]


class PhotoStatistics(NamedTuple):
    """Brightness and colourfulness of a photograph.

    Attributes:
        black, white: 0.5 and 99.5 % of its pixels' luma are darker, grey levels.
        median: of luma, grey levels.
        chroma: mean of each pixel's highest band less its lowest, grey levels.
    """

    black: float
    white: float
    median: float
    chroma: float


def photo_statistics(samples: UInt8Array) -> PhotoStatistics:
    """Statistics of uint8 [n, 3], n at least 1."""
    grey = histogram(luma(samples))
    chroma = int((samples.max(1).astype(np.int64) - samples.min(1)).sum()) / len(samples)
    return PhotoStatistics(quantile(grey, 5), quantile(grey, 995), quantile(grey, 500), chroma)


def histogram(values: UInt8Array) -> Counts:
    """Counts of each of the 256 values of uint8 [n], int64 [256]."""
    return np.bincount(values, minlength=256).astype(np.int64)


def quantile(counts: Counts, thousandths: int) -> float:
    """The level below which so many thousandths of the pixels lie, between levels by share of the level's pixels.

    Pixels of level 7 are taken to lie evenly between 6.5 and 7.5, so that the result is smooth in the counts.
    """
    below = np.cumsum(counts)
    wanted = int(below[-1]) * thousandths
    level = int(np.searchsorted(below * 1000, wanted, side="right").clip(0, 255))
    inside = wanted - 1000 * (int(below[level]) - int(counts[level]))
    return level - 0.5 + inside / (1000 * max(1, int(counts[level])))


def rise(value: float, start: float, end: float) -> float:
    """0 before `start`, 1 beyond `end`, smooth between; `start` above `end` falls instead of rising."""
    share = min(1.0, max(0.0, (value - start) / (end - start)))
    return share * share * (3 - 2 * share)
