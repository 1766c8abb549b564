"""The share of a photograph's own texture that a restored picture keeps.

A network that was trained on sharp edges draws false ones in woods and scrub, where a photograph has texture without
direction. There half of what it changes is left out, so that the photograph's own texture shows through; elsewhere a
small share. Direction is told by the structure tensor: its coherence is 1 along an edge and 0 where gradients point
everywhere (Bigun and Granlund 1987; Weickert 1999). Box filters on means over blocks stand for Gaussians.

The share depends on the photograph alone. `sr_model.tensor_binding` computes the same on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from sr_model.boxes import block_means, two_boxes
from sr_model.pixels import Float32Array
from sr_model.spec import ModelSpec

# Root mean square of the gradient, in grey levels per pixel of the output, from which on ground counts as textured a
# little, and fully.
TEXTURED: Final = (2.3, 5.75)
# Coherence at a ratio of 2 up to which texture has no direction, and from which on it has one; what both lose with
# every doubling of the ratio, since gradients are then taken over less of the photograph.
DIRECTED: Final = (0.38, 0.55)
DIRECTED_PER_OCTAVE: Final = 0.06
# Gradients squared, in grey levels squared, that are nothing: keeps quotients finite on flat ground.
NOTHING: Final = 1e-4


@dataclass(frozen=True)
class TextureRadii:
    """Radii of box filters in cells of four pixels; each two run one after the other.

    Attributes:
        tensor: of the structure tensor; they have the variance of a Gaussian whose deviation is 2.5 of the
            photograph's pixels.
        area: of the ground that is judged as one, a deviation of seven of the photograph's pixels.
    """

    tensor: tuple[int, int]
    area: tuple[int, int]

    @classmethod
    def of(cls, ratio: float) -> TextureRadii:
        """Return the radii for a ratio, see `ModelSpec.trained_ratio`."""
        tensor, area = round(1.45 * ratio - 0.75), round(4.25 * ratio - 0.875)
        return cls((tensor // 2, tensor - tensor // 2), (area // 2, area - area // 2))


def own_texture_share(luma: Float32Array, spec: ModelSpec, ratio: float) -> Float32Array:
    """The share of its own texture that a photograph keeps.

    Args:
        luma: float32 [h, w], its luminance in grey levels (their zero does not matter) in blocks of 2 x 2 pixels of
            the output; h and w are even.
        spec: the model's, which has the shares.
        ratio: pixel size of the photograph over that of the output.

    Returns:
        float32 [h / 2, w / 2], from `own_texture` to the larger of it and `own_texture_in_woods`.
    """
    woods = undirected_texture(luma, spec.trained_ratio(ratio))
    woods *= np.float32(spec.own_texture_in_woods)
    return np.maximum(woods, np.float32(spec.own_texture), out=woods)


def undirected_texture(luma: Float32Array, ratio: float) -> Float32Array:
    """Find texture without direction: 1 in woods, 0 along edges and on smooth ground.

    Args:
        luma, ratio: see `own_texture_share`.

    Returns:
        float32 [h / 2, w / 2], from 0 to 1.
    """
    radii = TextureRadii.of(ratio)
    products = _gradient_products(luma)
    energy = products[0] + products[1]
    across, along, both = two_boxes(products, radii.tensor)
    whole = across + along + np.float32(NOTHING)
    across -= along
    across *= across
    both *= np.float32(2)
    both *= both
    across += both
    directed = np.sqrt(across, out=across)
    directed /= whole
    energy, directed = two_boxes(np.stack([energy, energy * directed]), radii.area)
    directed /= energy + np.float32(NOTHING)
    texture = _smooth_step(np.sqrt(energy), TEXTURED)
    texture *= 1 - _smooth_step(directed, directed_limits(ratio))
    return texture


def directed_limits(ratio: float) -> tuple[float, float]:
    """Coherence up to which texture has no direction at a ratio, and from which on it has one."""
    less = DIRECTED_PER_OCTAVE * math.log2(ratio / 2)
    return DIRECTED[0] - less, DIRECTED[1] - less


def _gradient_products(luma: Float32Array) -> Float32Array:
    """Means over cells of the products of gradients: right squared, down squared, both: [h, w] to [3, h / 2, w / 2].

    Gradients are per pixel of the output, by Sobel's operator on blocks of 2 px, whose smoothing comes near the
    derivative of a Gaussian of 0.75 blocks.
    """
    around = np.pad(luma, 1, mode="edge")
    # Four times the sum of weights, a distance of two blocks, and two pixels in each.
    around *= np.float32(1 / 16)
    rows = _one_two_one(around)
    right = rows[:, 2:] - rows[:, :-2]
    down = _one_two_one((around[2:] - around[:-2]).T).T
    products = np.empty((3, luma.shape[0] // 2, luma.shape[1] // 2), np.float32)
    product = right * right
    products[0] = block_means(product, 2)
    products[1] = block_means(np.multiply(down, down, out=product), 2)
    products[2] = block_means(np.multiply(right, down, out=product), 2)
    return products


def _one_two_one(values: Float32Array) -> Float32Array:
    """Sums along the first axis with weights of 1, 2 and 1: [h, w] to [h - 2, w]."""
    pairs = values[:-1] + values[1:]
    sums: Float32Array = pairs[:-1] + pairs[1:]
    return sums


def _smooth_step(values: Float32Array, limits: tuple[float, float]) -> Float32Array:
    """0 below the limits, 1 above, and a cubic without a kink between."""
    low, high = limits
    share = values - np.float32(low)
    share *= np.float32(1 / (high - low))
    np.clip(share, 0, 1, out=share)
    step: Float32Array = 3 - 2 * share
    share *= share
    step *= share
    return step
