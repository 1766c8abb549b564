"""Colours that no photograph would have: tinted rims, blotches, a cast on neutral surfaces.

A change of the old photo's colours as a whole is allowed: one affine map of colours, fitted to means
over 8 px, is taken off first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from training.measure.colour_map import (
    Float32Array,
    Picture,
    apply_colour_map,
    block_colours,
    fit_colour_map,
    luminance,
)

BLOCK_PX: Final = 8
# Percentiles of the old photo's gradient above which is an edge, and below which is none; and how far around both.
_EDGE: Final = 95
_NO_EDGE: Final = 80
_NEAR_PX: Final = 7
# Least luminance and most chroma, in grey levels, of bright and neutral pixels, and how many of them are needed.
_BRIGHT: Final = 170.0
_NEUTRAL: Final = 9.0
_LEAST_PIXELS: Final = 200


def chroma(rgb: Picture) -> Float32Array:
    """Red and blue less luminance: [H, W, 3] to float32 [H, W, 2], grey levels."""
    grey = luminance(rgb)[..., None]
    difference: Float32Array = rgb[..., (0, 2)].astype(np.float32) - grey
    return difference


def saturation(rgb: Picture) -> Float32Array:
    """Length of the chroma, float32 [H, W], grey levels."""
    length: Float32Array = np.linalg.norm(chroma(rgb), axis=2)
    return length


def _explained(picture: Picture, old: Picture) -> Float32Array:
    """The old photo under the one map of colours that its means have to the picture's."""
    return apply_colour_map(
        fit_colour_map(block_colours(old, BLOCK_PX), block_colours(picture, BLOCK_PX)), old
    )


def tinted_rims(picture: Picture, old: Picture) -> float:
    """Measure how much more chroma has changed within 3 px of strong edges than on smooth ground, in grey levels.

    Args:
        picture, old: uint8 or float32 [H, W, 3] in grey levels, on one grid.
    """
    gradient = ndimage.gaussian_gradient_magnitude(luminance(old), 1.0)
    edge, slope = np.percentile(gradient, (_EDGE, _NO_EDGE))
    near = ndimage.maximum_filter(gradient > edge, _NEAR_PX)
    far = ~ndimage.maximum_filter(gradient > slope, _NEAR_PX)
    if not near.any():
        return 0.0
    changed = np.linalg.norm(chroma(picture) - chroma(_explained(picture, old)), axis=2)
    elsewhere = float(changed[far].mean()) if far.any() else 0.0
    return float(changed[near].mean()) - elsewhere


def blotches(picture: Picture, old: Picture) -> float:
    """Measure the residual of means over 8 px that no single map of colours explains, RMS in grey levels.

    Args:
        picture, old: uint8 or float32 [H, W, 3] in grey levels, on one grid.
    """
    residual = block_colours(picture, BLOCK_PX) - block_colours(_explained(picture, old), BLOCK_PX)
    return float(np.sqrt(np.square(residual).mean(dtype=np.float64)))


def neutral_cast(picture: Picture, old: Picture) -> float | None:
    """Measure the chroma that a picture gives to bright and neutral pixels of the old photo, in grey levels.

    Args:
        picture, old: uint8 or float32 [H, W, 3] in grey levels, on one grid.

    Returns:
        Less than 0 where it takes chroma away; None where the old photo shows hardly anything bright and neutral.
    """
    before = saturation(old)
    neutral = (before < _NEUTRAL) & (luminance(old) > _BRIGHT)
    if neutral.sum() <= _LEAST_PIXELS:
        return None
    return float(saturation(picture)[neutral].mean() - before[neutral].mean())
