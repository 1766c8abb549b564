"""Grain: the fine detail of a photograph on smooth ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import ndimage

from sr_model.measure.edges import Float32Array, FloatArray, check_luminance

BLOCK_PX: Final = 16
# Detail finer than this Gaussian is grain, on ground that is smooth at the coarser one.
_FINE_PX: Final = 1.5
_COARSE_PX: Final = 3.0
# Blocks that count as smooth: this share, or so many where those are fewer, if their slope, in grey levels per pixel,
# is not steeper than this.
_SMOOTHEST: Final = 0.01
_FEWEST: Final = 20
_STEEPEST: Final = 1.5
# Of their deviations: woods from above are as level as a road, and far rougher.
_QUANTILE: Final = 0.2
# Blocks nearer to black or white have lost their grain to clipping.
_LEVELS: Final = (8.0, 247.0)


def grain_of(luminances: Sequence[Float32Array]) -> tuple[float, int]:
    """Standard deviation of detail finer than 1.5 px on smooth ground.

    Of the 1 % of all blocks of 16 px that are most level at 3 px (roofs, roads, water, but woods too), the fifth that
    is finest tells it. White noise of deviation 1 has 0.92.

    Args:
        luminances: float32 [h, w] each, 0 to 255; NaN where there is no data.

    Returns:
        Grey levels, and the number of blocks that this rests on; (0.0, 0) where no block is smooth.

    Raises:
        InputError: a luminance is not a floating-point [h, w].
    """
    for luminance in luminances:
        check_luminance(luminance)
    blocks = [_blocks(v) for v in luminances if min(v.shape) >= BLOCK_PX]
    if not blocks:
        return 0.0, 0
    slope, deviation = np.concatenate(blocks, axis=1)
    order = np.argsort(slope, kind="stable")
    order = order[slope[order] <= _STEEPEST]
    smooth = order[: max(round(_SMOOTHEST * len(slope)), _FEWEST)]
    return (float(np.quantile(deviation[smooth], _QUANTILE)), len(smooth)) if len(smooth) else (0.0, 0)


def _blocks(luminance: Float32Array) -> FloatArray:
    """Slope and fine deviation of the blocks that are wholly present and not clipped: float64 [2, N]."""
    fine = luminance - ndimage.gaussian_filter(luminance, _FINE_PX, truncate=3)
    coarse = ndimage.gaussian_filter(luminance, _COARSE_PX, truncate=3)
    dy, dx = np.gradient(coarse)
    slope = _means(np.hypot(dy, dx))
    deviation = np.sqrt(np.maximum(_means(fine * fine) - _means(fine) ** 2, 0))
    level = _means(luminance)
    # NaN compares false.
    kept = (level > _LEVELS[0]) & (level < _LEVELS[1]) & ~np.isnan(deviation) & ~np.isnan(slope)
    return np.stack([slope[kept], deviation[kept]])


def _means(values: Float32Array) -> FloatArray:
    rows, columns = (side // BLOCK_PX for side in values.shape)
    cut = values[: rows * BLOCK_PX, : columns * BLOCK_PX].astype(np.float64)
    means: FloatArray = cut.reshape(rows, BLOCK_PX, columns, BLOCK_PX).mean((1, 3))
    return means
