"""The judges of `training.measure.judges` on all chips of a ground, relative to bicubic, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.measure.bootstrap import Bootstrap, Estimate

FloatArray = npt.NDArray[np.float64]
# What every chip tells of each metric, see `training.measure.judges.judge_window`.
Judged = Sequence[Mapping[str, FloatArray]]

# Fewer edges than these, of all chips together, tell neither rise nor overshoot.
_LEAST_EDGES: Final = 12
# The median overshoot of an old photo without halos is less: a ratio to it would be one of grain.
_LEAST_OVERSHOOT: Final = 0.01
# A metric over bicubic's, the name of its own value, how many values it needs, and the least value of bicubic.
_RELATIVE: Final = (
    ("rise", "rise_px", _LEAST_EDGES, 0.0),
    ("overshoot", "overshoot_share", _LEAST_EDGES, _LEAST_OVERSHOOT),
    ("features", "feature_distance", 1, 0.0),
)
_ABSOLUTE: Final = ("rims", "blotches", "cast", "weave")


def judged_estimates(bootstrap: Bootstrap, judged: Judged, bicubic: Judged) -> dict[str, Estimate]:
    """Medians over edges or chips, by metric; one that hardly anything tells is missing.

    Args:
        bootstrap: draws of the chips' blocks.
        judged: of one way to make the picture, a mapping per chip.
        bicubic: the same of bicubic, on the same ground.
    """
    estimates: dict[str, Estimate] = {}
    for name, absolute, least_values, least_base in _RELATIVE:
        mine, base = _column(judged, name), _column(bicubic, name)
        if min(sum(map(len, mine)), sum(map(len, base))) < least_values:
            continue
        estimates[absolute] = bootstrap.median(mine)
        if np.median(np.concatenate(base)) > least_base:
            estimates[name] = bootstrap.median(mine, base)
    for name in _ABSOLUTE:
        if any(map(len, mine := _column(judged, name))):
            estimates[name] = bootstrap.median(mine)
    return estimates


def _column(judged: Judged, name: str) -> list[FloatArray]:
    return [told.get(name, np.empty(0)) for told in judged]
