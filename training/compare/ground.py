"""The kind of ground that a window shows, by three measures of its texture."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from scipy import ndimage

from sr_model.measure import edge_profiles, edge_shapes, find_edges
from training.measure.colour_map import Float32Array, Picture, luminance

Kind = Literal["built", "woods", "fields"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# Gradients are those at 1.5 px, grey levels per pixel.
_GRADIENT_PX: Final = 1.5
_TENSOR_PX: Final = 5.0
_ROUGHNESS_PX: Final = 8.0
# Straight edges with two plateaus, per square of 256 px, and least coherence of the gradients among which they count.
_EDGES: Final = 100
_AMONG: Final = 0.45
# Or gradients of one direction that are strong enough: a car park has few edges and no others.
_COHERENT: Final = 0.6
_STRONG: Final = 4.0
# Most of the window is rough.
_ROUGH: Final = 3.5


def kind_of(rgb: Picture) -> Kind:
    """Tell roofs and roads from woods and from fields.

    Built ground has straight edges, woods are rough in no direction, fields are neither. The bounds fit windows of
    0.1 to 0.6 m per pixel of five recent photographs; a motorway in a wood is built ground.

    Args:
        rgb: uint8 or float32 [H, W, 3] in grey levels, of a sharp photograph; about 256 px on a side.
    """
    grey = luminance(rgb)
    energy, coherence, roughness = _texture(grey)
    edges = int(edge_shapes(edge_profiles(grey, find_edges(grey))).measured.sum())
    wanted = _EDGES * grey.size / 256**2
    if (edges >= wanted and coherence >= _AMONG) or (energy >= _STRONG and coherence >= _COHERENT):
        return "built"
    return "woods" if roughness >= _ROUGH else "fields"


def _texture(grey: Float32Array) -> tuple[float, float, float]:
    """RMS gradient, mean coherence of the gradients (0 to 1) where they are, and median of the local RMS gradient."""
    gx, gy = (ndimage.gaussian_filter(grey, _GRADIENT_PX, order=order) for order in ((0, 1), (1, 0)))
    squares = gx * gx + gy * gy
    xx, xy, yy = (ndimage.gaussian_filter(v, _TENSOR_PX) for v in (gx * gx, gx * gy, gy * gy))
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)
    local = ndimage.gaussian_filter(squares, _ROUGHNESS_PX)
    return (
        float(np.sqrt(squares.mean())),
        float((coherence * squares).sum() / (squares.sum() + 1e-6)),
        float(np.sqrt(np.median(local))),
    )
