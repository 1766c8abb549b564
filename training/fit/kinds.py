"""The two kinds of weights that `fit` makes: those of a pair, which translate colours, and relative ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sr_model.spec import ModelSpec
from training.data.manifest import ratio_of, read_site
from training.errors import DatasetError
from training.fit.config import FitConfig

# An old photograph may have slightly finer pixels than the grid of its pairs, as rounding gives them.
_LEAST_RATIO: Final = 0.95


def untrained_spec(config: FitConfig) -> ModelSpec:
    """The spec of a run's network, as its weights have it before `export` completes it.

    Raises:
        DatasetError: the weights are to be relative, and pairs are missing or coarser than their old photograph.
    """
    if config.architecture == "compact":
        return ModelSpec.compact(gsd_m=config.gsd_m)
    if config.architecture == "resnet34":
        return ModelSpec.resnet34(gsd_m=config.gsd_m)
    if config.colours == "network":
        return ModelSpec.half_scale(gsd_m=config.gsd_m)
    everywhere, in_woods = config.own_texture
    spec = _relative(config.pairs, config.scale_range)
    return replace(spec, own_texture=everywhere, own_texture_in_woods=in_woods)


def _relative(folders: Sequence[str], scale_range: tuple[float, float]) -> ModelSpec:
    """Ratios that the pairs show: scale jitter makes pixels of the output larger or smaller."""
    spec = ModelSpec.half_scale()
    if not folders:  # sharp pictures alone are aged by about the ratios of this spec
        return spec
    ratios = [ratio_of(read_site(Path(folder))) for folder in folders]
    for folder, ratio in zip(folders, ratios, strict=True):
        if ratio < _LEAST_RATIO:
            raise DatasetError(
                f"{Path(folder).name} has pixels that are {1 / ratio:.3g} times as large as its old photo's, and "
                "relative weights make none coarser: make the pairs with a smaller --gsd"
            )
    low, high = min(ratios) / scale_range[1], max(ratios) / scale_range[0]
    typical = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    return replace(
        spec,
        ratio=min(max(1.0, typical), high),
        ratio_range=(low, high),
        max_ratio=max(spec.max_ratio, high),
    )


def scale_in_words(spec: ModelSpec) -> str:
    """`0.3 m per pixel` of a pair's weights, `a ratio of 2.5` of relative ones."""
    return f"a ratio of {spec.ratio:.3g}" if spec.is_relative else f"{spec.gsd_m:.3g} m per pixel"
