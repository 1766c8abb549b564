"""The share of a chip that shows other ground than before, as blind as possible to colour, season and shadow.

What people build has long straight edges; leaves, crops and grain have edges in every direction. The structure tensor
(Bigun and Granlund 1987) averages directions in the double angle, where an edge from dark to bright and one from bright
to dark are the same: coherent edges stay, texture of every direction cancels out. Both pictures' tensors, brought to
the same local strength, are compared; what only one of them has is change. Edges of shadows are left out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter, sobel, uniform_filter

from training.measure.register import smooth_grey

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Complex64Array = npt.NDArray[np.complex64]
BoolArray = npt.NDArray[np.bool_]

# Crowns and clods are smaller, walls and roads are not.
BLUR_PX: Final = 3.0
# Of the window over which directions are averaged; about a wall's length, and wide enough for what registration leaves.
_TENSOR_SIGMA_PX: Final = 6.0
# Window over which the strength of edges is made equal, and shadows are told from dark ground.
_AROUND_PX: Final = 121
# A shadow is darker than this share of its surroundings.
_SHADOW: Final = 0.5
_SHADOW_EDGE_PX: Final = 4
# A place counts as changed where one picture's coherent edges are this much stronger, in mean strengths.
_CHANGED: Final = 1.0
# Of Sobel's gradient; edges that are weaker are grain.
_LEAST_STRENGTH: Final = 2.0
# Misregistration that is forgiven, in pixels.
_SLACK_PX: Final = 3


def _shadow(grey: Float32Array) -> BoolArray:
    """Bool [H, W], true in shadows and at their edges."""
    dark = grey < _SHADOW * uniform_filter(grey, _AROUND_PX)
    grown: BoolArray = maximum_filter(dark, 2 * _SHADOW_EDGE_PX + 1)
    return grown


def _tensor(grey: Float32Array, seen: BoolArray) -> Complex64Array:
    """Complex64 [H, W]: the coherent edges' direction, in the double angle, and their strength over the mean's."""
    gradient = sobel(grey, axis=1) + 1j * sobel(grey, axis=0)
    strength = np.abs(gradient)
    doubled = np.where(seen, gradient**2 / np.maximum(strength, 1e-3), 0).astype(np.complex64)
    share = uniform_filter(seen.astype(np.float32), _AROUND_PX)
    local = uniform_filter(np.abs(doubled), _AROUND_PX) / np.maximum(share, 0.05)
    # Half local, half the chip's own: a chip of flat fields is not all grain.
    mean = float(np.abs(doubled)[seen].mean()) if seen.any() else 0.0
    level = np.maximum(np.sqrt(local * mean), _LEAST_STRENGTH)
    smooth = gaussian_filter(doubled.real, _TENSOR_SIGMA_PX) + 1j * gaussian_filter(
        doubled.imag, _TENSOR_SIGMA_PX
    )
    result: Complex64Array = (smooth / level).astype(np.complex64)
    return result


def change_strength(old: UInt8Array, new: UInt8Array, sigma_px: float = BLUR_PX) -> Float32Array:
    """Compare the coherent edges of two registered pictures: by how much one has stronger ones than the other.

    Args:
        old, new: uint8 [H, W, 3] on one grid.
        sigma_px: blur that makes both equally soft; the old photo's pixel or more.

    Returns:
        float32 [H, W] in mean strengths of edges; 0 at shadows.
    """
    greys = smooth_grey(old, sigma_px), smooth_grey(new, sigma_px)
    seen = ~(_shadow(greys[0]) | _shadow(greys[1]))
    tensors = [_tensor(grey, seen) for grey in greys]
    most = np.zeros(seen.shape, np.float32)
    for one, other in (tensors, tensors[::-1]):
        # What the other has of this direction, within the slack.
        along = (other * np.conj(one)).real / np.maximum(np.abs(one), 1e-6)
        found = maximum_filter(along, 2 * _SLACK_PX + 1)
        np.maximum(most, np.abs(one) - np.maximum(found, 0), out=most)
    most[~seen] = 0
    return most


def change_map(old: UInt8Array, new: UInt8Array, sigma_px: float = BLUR_PX) -> BoolArray:
    """Return where the structure changed: bool [H, W], see `change_strength`."""
    changed: BoolArray = change_strength(old, new, sigma_px) > _CHANGED
    return changed


def change_score(old: UInt8Array, new: UInt8Array, sigma_px: float = BLUR_PX) -> float:
    """The share of the ground whose structure changed: 0 is none, 1 is all."""
    return float(change_map(old, new, sigma_px).mean())
