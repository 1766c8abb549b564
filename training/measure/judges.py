"""All judges of one window together: metrics of the faults that people see in a restored photograph.

| metric | meaning |
| --- | --- |
| `rise` | pixels from 10 to 90 % of an edge |
| `overshoot` | rings beside edges, share of the step |
| `rims` | tinted rims at edges, grey levels |
| `blotches` | patches of colour that no single map of colours explains, grey levels |
| `cast` | chroma given to bright and neutral pixels, grey levels |
| `weave` | fine detail on smooth ground relative to the later photo's |
| `psnr` | dB to the truth after one map of colours; only with a truth |
| `features` | distance to the truth in a fixed network's features; only with a truth and a judge |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.measure.colour_artefacts import blotches, neutral_cast, tinted_rims
from training.measure.colour_map import Picture, matched_psnr
from training.measure.edge_quality import edge_quality
from training.measure.feature_distance import FeatureJudge
from training.measure.weave import weave

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JudgedWindow:
    """One window of ground; all pictures uint8 or float32 [H, W, 3] in grey levels, on one grid.

    Attributes:
        picture: the picture to judge.
        old: the old photo on the grid, bicubic.
        new: a later photo, or the truth.
        edges_of: the picture whose edges are measured: the old photo for everything that is compared with it.
    """

    picture: Picture
    old: Picture
    new: Picture
    edges_of: Picture


def judge_window(
    window: JudgedWindow, *, is_truth: bool = False, features: FeatureJudge | None = None
) -> dict[str, FloatArray]:
    """Measure one window by each metric: a value per edge for `rise` and `overshoot`, else one value or none.

    Args:
        window: of one picture.
        is_truth: whether `new` is the true picture, pixel on pixel.
        features: judge of the distance to a truth; say its `name` beside the result.

    Returns:
        float64 [M] by metric; empty where the window cannot tell it.
    """
    picture, old, new = window.picture, window.old, window.new
    edges = edge_quality([(picture, window.edges_of)])
    single: dict[str, float | None] = {
        "rims": tinted_rims(picture, old),
        "blotches": blotches(picture, old),
        "cast": neutral_cast(picture, old),
        "weave": weave(picture, old, new),
    }
    if is_truth:
        single["psnr"] = matched_psnr(picture, new)
    if is_truth and features is not None:
        single["features"] = features.distance(picture, new)
    told = {name: np.array([] if value is None else [value], np.float64) for name, value in single.items()}
    return {"rise": edges.rises_px, "overshoot": edges.overshoots} | told
