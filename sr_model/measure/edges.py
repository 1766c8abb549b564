"""Straight edges of a picture, and their profiles: the slanted edge of ISO 12233.

A pixel grid samples one line across an edge too coarsely to tell how sharp it is. Along a straight edge that is not
parallel to the grid, neighbouring lines sample it at other phases: their mean is the edge's profile, finer than the
pixels and freed of grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sr_model.errors import InputError

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]

# Least coherence of the structure tensor where an edge is called straight: 0 has no direction, 1 has one alone.
_COHERENCE: Final = 0.8
# Along and across the edge, in pixels, and how finely the profile is sampled.
_HALF_LENGTH_PX: Final = 4
_REACH_PX: Final = 8.0
_STEP_PX: Final = 0.25
# Where the plateaus are measured, and where what exceeds them is an overshoot, in pixels from the edge.
_PLATEAU_PX: Final = (3.5, 7.0)
# Least step in grey levels, and longest rise.
_LEAST_STEP: Final = 18.0
_LONGEST_RISE_PX: Final = 8.0
# Pixels that are looked at for each place that is wanted: an edge is several pixels wide, and places keep apart.
_PIXELS_PER_PLACE: Final = 100


@dataclass(frozen=True, eq=False)
class Edges:
    """Places on straight edges.

    Attributes:
        y, x: float64 [E], pixels.
        ny, nx: float64 [E], the unit normal, which points to the brighter side.
        strength: float64 [E], grey levels per pixel across the edge, after smoothing; descending.
    """

    y: FloatArray
    x: FloatArray
    ny: FloatArray
    nx: FloatArray
    strength: FloatArray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class EdgeShapes:
    """Shapes of edges; NaN where a place is not on one edge with a plateau on either side.

    Attributes:
        rise_px: float64 [E], from 10 to 90 % of the step.
        overshoot, undershoot: float64 [E], beyond the bright and the dark plateau, share of the step; 0 or more.
    """

    rise_px: FloatArray
    overshoot: FloatArray
    undershoot: FloatArray

    @property
    def measured(self) -> BoolArray:
        """Bool [E], which places have a shape."""
        return ~np.isnan(self.rise_px)


def check_luminance(luminance: Float32Array) -> None:
    """Raise InputError unless `luminance` is a floating-point [h, w]."""
    if luminance.ndim != 2 or not np.issubdtype(luminance.dtype, np.floating):
        raise InputError(
            f"expected luminance as float32 [height, width], got {luminance.dtype} {list(luminance.shape)}"
        )


def find_edges(
    luminance: Float32Array,
    *,
    most: int = 150,
    scale_px: float = 2.0,
    least_strength: float = 1.0,
    margin_px: int = 14,
) -> Edges:
    """Find places on straight edges, the strongest first, no two within 3 px of each other.

    They are ridges of the gradient where its structure tensor has one direction (Bigün and Granlund 1987).

    Args:
        luminance: float32 [h, w], 0 to 255; NaN where there is no data.
        most: how many places at most.
        scale_px: sigma of the derivative of Gaussian; the tensor is smoothed over twice as much.
        least_strength: least gradient at that scale, grey levels per pixel.
        margin_px: how far from the border, and from pixels without data, a place has to be.

    Raises:
        InputError: not a floating-point [h, w].
    """
    check_luminance(luminance)
    usable = _away_from_gaps(luminance, margin_px)
    filled = np.nan_to_num(luminance.astype(np.float32, copy=False))
    gx = ndimage.gaussian_filter(filled, scale_px, order=(0, 1))
    gy = ndimage.gaussian_filter(filled, scale_px, order=(1, 0))
    strength = np.hypot(gx, gy)
    tensor = [_halved(v, 2 * scale_px) for v in (gx * gx, gx * gy, gy * gy)]
    y, x = _strongest(strength, usable & (strength >= least_strength), _PIXELS_PER_PLACE * most)
    # The tensor's own direction is steadier than a single gradient's; it has no sign, which the gradient gives.
    xx, xy, yy = (v[y // 2, x // 2].astype(np.float64) for v in tensor)
    straight = np.hypot(xx - yy, 2 * xy) > _COHERENCE * (xx + yy) + 1e-6
    y, x = y[straight], x[straight]
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)[straight]
    nx, ny = np.cos(angle), np.sin(angle)
    sign = np.where(gx[y, x] * nx + gy[y, x] * ny < 0, -1.0, 1.0)
    found = Edges(
        *(v.astype(np.float64) for v in (y, x, sign * ny, sign * nx, strength[y, x])),
    )
    return _spaced(_ridges(found, strength), luminance.shape, most)


def _halved(values: Float32Array, sigma_px: float) -> Float32Array:
    """Smoothed by a Gaussian, at half the size: it varies slowly, and that is a quarter of the work."""
    even = np.pad(values, [(0, side % 2) for side in values.shape], mode="edge")
    quarters = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    smoothed: Float32Array = ndimage.gaussian_filter(quarters, sigma_px / 2, truncate=3)
    return smoothed


def _strongest(strength: Float32Array, usable: BoolArray, most: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the strongest usable pixels, in the picture's order."""
    places = np.flatnonzero(usable)
    if len(places) > most:
        least = np.partition(strength.ravel()[places], -most)[-most]
        places = places[strength.ravel()[places] >= least]
    return np.divmod(places, strength.shape[1])


def _away_from_gaps(luminance: Float32Array, margin_px: int) -> BoolArray:
    present = ~np.isnan(luminance)
    if not present.all():
        present = ndimage.minimum_filter(present, 2 * margin_px + 1)
    inner = np.zeros(luminance.shape, np.bool_)
    inner[margin_px:-margin_px, margin_px:-margin_px] = True
    return present & inner


def _ridges(edges: Edges, strength: Float32Array) -> Edges:
    """Select places whose gradient is not weaker than a pixel further on either side of the edge."""
    ahead, behind = (
        ndimage.map_coordinates(strength, [edges.y + k * edges.ny, edges.x + k * edges.nx], order=1)
        for k in (1, -1)
    )
    return take(edges, np.flatnonzero((edges.strength >= ahead) & (edges.strength >= behind)))


def _spaced(edges: Edges, shape: tuple[int, ...], most: int) -> Edges:
    near_taken, chosen = np.zeros(shape, np.bool_), []
    for i in np.argsort(-edges.strength, kind="stable")[: 8 * most]:
        y, x = int(edges.y[i]), int(edges.x[i])
        if not near_taken[y, x]:
            near_taken[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = True
            chosen.append(i)
        if len(chosen) == most:
            break
    return take(edges, np.array(chosen, np.intp))


def take(edges: Edges, which: IntArray | BoolArray) -> Edges:
    """Some of the edges."""
    return Edges(*(v[which] for v in (edges.y, edges.x, edges.ny, edges.nx, edges.strength)))


def profile_positions() -> FloatArray:
    """Distances across the edge that `edge_profiles` samples, dark side negative: float64 [T], pixels."""
    count = round(2 * _REACH_PX / _STEP_PX) + 1
    return np.linspace(-_REACH_PX, _REACH_PX, count)


def edge_profiles(luminance: Float32Array, edges: Edges) -> Float32Array:
    """Mean profiles across edges, from 9 lines a pixel apart.

    Args:
        luminance: float32 [h, w].
        edges: of this picture, or of another one on the same grid.

    Returns:
        float32 [E, T], at `profile_positions`.
    """
    across = profile_positions()[None, :, None]
    along = np.arange(-_HALF_LENGTH_PX, _HALF_LENGTH_PX + 1.0)[None, None, :]
    y, x, ny, nx = (v[:, None, None] for v in (edges.y, edges.x, edges.ny, edges.nx))
    places = [y + across * ny + along * nx, x + across * nx - along * ny]
    sampled = ndimage.map_coordinates(luminance, places, order=1, mode="nearest", output=np.float32)
    profiles: Float32Array = sampled.mean(2)
    return profiles


def edge_shapes(profiles: Float32Array) -> EdgeShapes:
    """Rise and overshoot of profiles.

    The plateaus are medians 3.5 to 7 px from the edge. A profile has no shape where its step is less than 18 grey
    levels, or it takes more than 8 px to rise.

    Args:
        profiles: float32 [E, T], of `edge_profiles`.
    """
    t = profile_positions()
    near, far = _PLATEAU_PX
    dark = np.median(profiles[:, (t < -near) & (t > -far)], axis=1)
    bright = np.median(profiles[:, (t > near) & (t < far)], axis=1)
    step = (bright - dark).astype(np.float64)
    share = (profiles - dark[:, None]) / np.maximum(step, 1e-6)[:, None]
    rise = _shortest_rise(share)
    measured = (step >= _LEAST_STEP) & (rise <= _LONGEST_RISE_PX)
    over = share[:, (t > 0) & (t < near)].max(1) - 1
    under = -share[:, (t < 0) & (t > -near)].min(1)
    shapes = (np.where(measured, v, np.nan) for v in (rise, np.maximum(over, 0), np.maximum(under, 0)))
    return EdgeShapes(*shapes)


def _shortest_rise(share: FloatArray) -> FloatArray:
    """Between upward crossings of 10 % and of 90 %, where that is shortest; infinite where there are none."""
    up_10 = (share[:, :-1] <= 0.1) & (share[:, 1:] > 0.1)
    up_90 = (share[:, :-1] < 0.9) & (share[:, 1:] >= 0.9)
    index = np.arange(share.shape[1] - 1)
    climb = np.diff(share, axis=1)
    climb[climb == 0] = 1.0
    starts = np.where(up_10, index + (0.1 - share[:, :-1]) / climb, -np.inf)
    ends = np.where(up_90, index + (0.9 - share[:, :-1]) / climb, np.inf)
    rise: FloatArray = (ends - np.maximum.accumulate(starts, axis=1)).min(1) * _STEP_PX
    return rise
