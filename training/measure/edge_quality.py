"""Width of a picture's edges and overshoot beside them, after ISO 12233."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sr_model.measure import edge_profiles, edge_shapes, find_edges
from training.measure.colour_map import Picture, luminance

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EdgeQuality:
    """Measurements at the edges of one picture or of several.

    Attributes:
        rises_px: float64 [M], pixels from 10 to 90 % of each edge.
        overshoots: float64 [M], beyond the brighter or the darker plateau, whichever is more, as a share of the step.
    """

    rises_px: FloatArray
    overshoots: FloatArray

    @property
    def edges(self) -> int:
        """Number of edges measured."""
        return len(self.rises_px)

    @property
    def rise_px(self) -> float:
        """The median; NaN where there is no edge."""
        return float(np.median(self.rises_px)) if self.edges else float("nan")

    @property
    def overshoot(self) -> float:
        """The median; NaN where there is no edge."""
        return float(np.median(self.overshoots)) if self.edges else float("nan")


def edge_quality(pairs: Iterable[tuple[Picture, Picture]]) -> EdgeQuality:
    """Measure pictures at the edges of others.

    Grain cancels, since a profile is the mean of nine lines along its edge. All candidates of a comparison have to be
    measured at the same edges, those of the old photo: else one that draws edges of its own chooses its judges.

    Args:
        pairs: a picture, and the one whose edges count; uint8 or float32 [H, W, 3] in grey levels, on one grid.
    """
    measured = [_shapes(picture, reference) for picture, reference in pairs]
    if not measured:
        return EdgeQuality(np.empty(0), np.empty(0))
    return EdgeQuality(*(np.concatenate(part) for part in zip(*measured, strict=True)))


def _shapes(picture: Picture, reference: Picture) -> tuple[FloatArray, FloatArray]:
    """Rise and overshoot of every edge that has a shape, float64 [M] each."""
    shapes = edge_shapes(edge_profiles(luminance(picture), find_edges(luminance(reference))))
    kept = shapes.measured
    return shapes.rise_px[kept], np.maximum(shapes.overshoot, shapes.undershoot)[kept]
