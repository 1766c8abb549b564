"""How a site's old photograph differs from its new one: blur, unsharp mask, grain, and after registration colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.measure import PhotoTraits, estimate_blur_and_halo
from training.data.ageing import Ageing, Rows
from training.data.dataset import Pair
from training.measure.metrics import luma

FloatArray = npt.NDArray[np.float64]

# Unsharp masks that are made: radii in the old photograph's pixels, and the largest amount.
_RADII_PX: Final = (0.3, 3.0)
_MOST_HALO: Final = 2.0
# How often an ageing is corrected, and the seed of its trials.
_ROUNDS: Final = 4
_SEED: Final = 22
# Side of the squares whose mean colours are compared, and the deviation of a colour below which nothing changes it.
_BLOCK_PX: Final = 16
_LEAST_DEVIATION: Final = 0.01


def measured_ageing(
    old: PhotoTraits, new: PhotoTraits, pixels_m: tuple[float, float, float], pairs: Sequence[Pair]
) -> Ageing:
    """What makes chips of the new photograph look like the old one.

    It begins with what the photographs' traits tell, and is then corrected by what aged chips show: the new photograph
    brings a blur, an unsharp mask and grain of its own.

    Args:
        old, new: traits of the photographs.
        pixels_m: pixel size of the old photograph, of the new one, and of the chips.
        pairs: registered chips.
    """
    old_m, new_m, chip_m = pixels_m
    ratio = max(1.0, old_m / chip_m)
    # Variances add up; a pixel that is n times as large has n^2 - 1 twelfths more.
    wanted = (old.blur_px * old_m / chip_m) ** 2
    there = (new.blur_px * new_m / chip_m) ** 2 + (ratio**2 - 1) / 12
    ageing = Ageing(
        ratio=round(ratio, 4),
        blur_px=round(_root(wanted - there), 3),
        halo_amount=round(max(old.halo_amount - new.halo_amount, 0.0), 3),
        halo_radius_px=min(max(old.halo_radius_px, _RADII_PX[0]), _RADII_PX[1]),
        grain=round(_root(old.grain**2 - new.grain**2 / ratio**2), 2),
        colours=_colours(pairs),
    )
    return _corrected(ageing, pairs)


def _corrected(ageing: Ageing, pairs: Sequence[Pair]) -> Ageing:
    """The ageing after which new chips measure most like the old ones, of a few that are tried."""
    wanted = estimate_blur_and_halo([_luminance(pair.old) for pair in pairs])
    best, least = ageing, math.inf
    for _ in range(_ROUNDS):
        rngs = [np.random.default_rng((_SEED, index)) for index in range(len(pairs))]
        aged = [_luminance(ageing(pair.new, rng)) for pair, rng in zip(pairs, rngs, strict=True)]
        found = estimate_blur_and_halo(aged)
        off = abs(found.rise_px - wanted.rise_px) + 10 * abs(found.overshoot - wanted.overshoot)
        if off < least:
            best, least = ageing, off
        radius_px = ageing.halo_radius_px + (wanted.halo_radius_px - found.halo_radius_px) / ageing.ratio
        ageing = replace(
            ageing,
            blur_px=round(_root(ageing.blur_px**2 + wanted.blur_px**2 - found.blur_px**2), 3),
            halo_amount=round(
                min(max(ageing.halo_amount + wanted.halo_amount - found.halo_amount, 0.0), _MOST_HALO), 3
            ),
            halo_radius_px=round(min(max(radius_px, _RADII_PX[0]), _RADII_PX[1]), 3),
            grain=round(_root(ageing.grain**2 + wanted.grain**2 - found.grain**2), 2),
        )
    return best


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def _luminance(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return luma(rgb).astype(np.float32)


def _colours(pairs: Sequence[Pair]) -> Rows:
    """The affine map of colours from new to old, by ridge regression on means of squares of ground."""
    new = np.concatenate([_means(pair.new) for pair in pairs])
    old = np.concatenate([_means(pair.old) for pair in pairs])
    sources = np.column_stack([new, np.ones(len(new))])
    ridge = len(new) * _LEAST_DEVIATION**2 * np.diag([1, 1, 1, 0])
    # The pull is towards leaving colours as they are.
    identity = np.eye(4, 3)
    found = np.linalg.solve(sources.T @ sources + ridge, sources.T @ old + ridge @ identity)
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in found.T.round(5))


def _means(rgb: npt.NDArray[np.uint8]) -> FloatArray:
    """Mean colours of squares, float64 [N, 3] from 0 to 1."""
    height, width = (side // _BLOCK_PX for side in rgb.shape[:2])
    part = rgb[: height * _BLOCK_PX, : width * _BLOCK_PX].astype(np.float64) / 255
    means: FloatArray = part.reshape(height, _BLOCK_PX, width, _BLOCK_PX, 3).mean((1, 3)).reshape(-1, 3)
    return means
