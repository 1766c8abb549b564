"""Profiles across edges in bins of a quarter pixel, from the pixels themselves: nothing is interpolated.

Interpolating between pixels blurs detail as sharp as they are, and overshoots where an edge lies along the grid. For
the profile of one edge that does not matter; a fit to hundreds of them would measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.measure.edges import BoolArray, Edges, Float32Array, FloatArray

REACH_PX: Final = 7.0
_HALF_LENGTH_PX: Final = 5.0
_BIN_PX: Final = 0.25
# How far from an edge its pixels lie.
SUPPORT_PX: Final = 9
# Grey levels at which a scan has burnt out; JPEG moves a few.
_BURNT: Final = (3.0, 252.0)
# Where the plateaus are, in pixels from the edge, for a first look.
_PLATEAU_PX: Final = (3.0, 6.5)


@dataclass(frozen=True, eq=False)
class Profiles:
    """Bins across edges; those without pixels have no weight.

    Attributes:
        distance: float64 [E, B], mean distance of a bin's pixels from the edge, dark side negative.
        level: float64 [E, B], their mean, grey levels.
        weight: float64 [E, B], how many they are; 0 where only a part of them is burnt.
        burnt: int8 [E, B], 1 where all are white, -1 where all are black: the scene was at least as bright, or dark.
    """

    distance: FloatArray
    level: FloatArray
    weight: FloatArray
    burnt: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.level)

    def take(self, which: BoolArray | npt.NDArray[np.intp]) -> Profiles:
        """Select some edges."""
        return Profiles(self.distance[which], self.level[which], self.weight[which], self.burnt[which])

    @classmethod
    def joined(cls, parts: list[Profiles]) -> Profiles:
        """Concatenate the edges of several windows."""
        return cls(
            np.concatenate([part.distance for part in parts]),
            np.concatenate([part.level for part in parts]),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.burnt for part in parts]),
        )

    def plateaus(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Means of the dark and of the bright side, and the larger deviation within a side: float64 [E] each.

        NaN where a side has no pixels.
        """
        dark, bright = self._side(-1), self._side(1)
        return dark[0], bright[0], np.maximum(dark[1], bright[1])

    def has_burnt_plateau(self) -> BoolArray:
        """Bool [E]: most of a side is black or white, so that the step is at least so large, and may be larger."""
        dark, bright = ((self._plateau(side) * (self.burnt != 0)).sum(1) for side in (-1, 1))
        return np.asarray(np.maximum(dark, bright) > 0.5)

    def _side(self, side: int) -> tuple[FloatArray, FloatArray]:
        share = self._plateau(side)
        mean = (self.level * share).sum(1)
        return mean, np.sqrt(((self.level - mean[:, None]) ** 2 * share).sum(1))

    def _plateau(self, side: int) -> FloatArray:
        """Share of a side's pixels that each bin has, [E, B]; NaN where there are none."""
        near, far = _PLATEAU_PX
        inside = (side * self.distance > near) & (side * self.distance < far)
        weight = np.where(inside, self.weight, 0)
        total = weight.sum(1, keepdims=True)
        total[total == 0] = np.nan
        share: FloatArray = weight / total
        return share


def profiles_of(luminance: Float32Array, edges: Edges) -> Profiles:
    """Bin the pixels up to 7 px across and 5 px along every edge.

    Args:
        luminance: float32 [h, w], 0 to 255.
        edges: at least `SUPPORT_PX` from the border and from pixels without data, at whole pixels.
    """
    offsets = np.arange(-SUPPORT_PX, SUPPORT_PX + 1)
    dy, dx = (v.ravel() for v in np.meshgrid(offsets, offsets, indexing="ij"))
    ny, nx = edges.ny[:, None], edges.nx[:, None]
    across, along = dx * nx + dy * ny, dy * nx - dx * ny
    bins = np.floor((across + REACH_PX) / _BIN_PX).astype(np.intp)
    count = round(2 * REACH_PX / _BIN_PX)
    inside = (np.abs(along) <= _HALF_LENGTH_PX) & (bins >= 0) & (bins < count)
    place = (np.arange(len(edges))[:, None] * count + bins)[inside]
    rows, columns = edges.y.astype(np.intp)[:, None] + dy, edges.x.astype(np.intp)[:, None] + dx
    levels = luminance[rows[inside], columns[inside]].astype(np.float64)

    def total(values: FloatArray) -> FloatArray:
        sums = np.bincount(place, values, minlength=len(edges) * count).astype(np.float64)
        return sums.reshape(len(edges), count)

    pixels = total(np.ones(len(place)))
    some = np.maximum(pixels, 1)
    black, white = (total(v.astype(np.float64)) for v in (levels <= _BURNT[0], levels >= _BURNT[1]))
    burnt = (white == some).astype(np.int8) - (black == some).astype(np.int8)
    weight = np.where((black + white > 0) & (burnt == 0), 0.0, pixels)
    return Profiles(total(across[inside]) / some, total(levels) / some, weight, burnt)
