"""How crisp a picture's edges are and what rings stand beside them, after ISO 12233."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sr_model.measure import edge_profiles, edge_shapes, find_edges
from training.measure.colour_map import Picture, luminance

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EdgeQuality:
    """Medians over the edges of one picture or of several.

    Attributes:
        rise_px: pixels from 10 to 90 % of an edge; NaN where there is none.
        overshoot: beyond the brighter or the darker plateau, whichever is more, as a share of the step.
        edges: how many were measured.
    """

    rise_px: float
    overshoot: float
    edges: int


def edge_quality(pairs: Iterable[tuple[Picture, Picture]]) -> EdgeQuality:
    """Measure pictures at the edges of others.

    Grain cancels, since a profile is the mean of nine lines along its edge. All candidates of a comparison have to be
    measured at the same edges, those of the old photo: else one that draws edges of its own chooses its judges.

    Args:
        pairs: a picture, and the one whose edges count; uint8 or float32 [H, W, 3] in grey levels, on one grid.
    """
    measured = [_shapes(picture, reference) for picture, reference in pairs]
    if not any(len(rise) for rise, _ in measured):
        return EdgeQuality(float("nan"), float("nan"), 0)
    rise, over = (np.concatenate(part) for part in zip(*measured, strict=True))
    return EdgeQuality(float(np.median(rise)), float(np.median(over)), len(rise))


def _shapes(picture: Picture, reference: Picture) -> tuple[FloatArray, FloatArray]:
    """Rise and overshoot of every edge that has a shape, float64 [M] each."""
    shapes = edge_shapes(edge_profiles(luminance(picture), find_edges(luminance(reference))))
    kept = shapes.measured
    return shapes.rise_px[kept], np.maximum(shapes.overshoot, shapes.undershoot)[kept]
