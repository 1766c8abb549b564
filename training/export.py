"""A run's last weights to a file that the server takes: the halo measured, half precision, the spec complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.restorer import Restorer
from sr_model.weights import Weights, load_weights, save_weights
from training.dataset import load_pairs
from training.errors import RunError
from training.fit import CONFIG, WEIGHTS
from training.pairs import read_site

UInt8Array = npt.NDArray[np.uint8]
Range = tuple[float, float]

# Mean difference at a window's border, in grey levels, below which more context changes nothing that is seen.
_TOLERANCE: Final = 0.25
_FAR_PX: Final = 160
_CORE_PX: Final = 64
# A photograph may be this much coarser than the coarsest in training.
_COARSER: Final = 1.6


def measure_halo(weights: Weights, pictures: Sequence[UInt8Array]) -> int:
    """The smallest multiple of the stride that covers the network's effective receptive field.

    Every window is restored with much context and with less and less; what counts is the mean difference in the
    outermost pixels of its core, where two windows would meet.

    Args:
        weights: the trained network.
        pictures: uint8 [H, W, 3] of at least 384 px, such as old chips.

    Raises:
        RunError: no picture is large enough, or no halo suffices.
    """
    side = _CORE_PX + 2 * _FAR_PX
    windows = [picture[:side, :side] for picture in pictures if min(picture.shape[:2]) >= side]
    if not windows:
        raise RunError(f"the halo cannot be measured: no chip has {side} px; make pairs with a larger --size")
    restorer = Restorer.from_weights(weights)
    truth = [restorer.restore(window[None])[0][_FAR_PX:-_FAR_PX, _FAR_PX:-_FAR_PX] for window in windows]
    for halo in range(weights.spec.stride, _FAR_PX, weights.spec.stride):
        cut = _FAR_PX - halo
        differences = []
        for window, wanted in zip(windows, truth, strict=True):
            less = restorer.restore(np.ascontiguousarray(window[None, cut:-cut, cut:-cut]))[0]
            difference = np.abs(less[halo:-halo, halo:-halo].astype(np.int16) - wanted)
            differences.append(
                float(np.mean([difference[0], difference[-1], difference[:, 0], difference[:, -1]]))
            )
        if np.mean(differences) <= _TOLERANCE:
            return halo
    raise RunError(f"even a halo of {_FAR_PX} px does not cover the receptive field: train a smaller network")


def _ranges(config: dict[str, Any], gsd_m: float) -> tuple[Range, Range]:
    """What the run has seen: pixel sizes by scale jitter, and photographs somewhat softer than those it learnt from."""
    low, high = config["scale_range"]
    coarsest_m = max(
        (float(read_site(Path(folder))["old_gsd_m"]) for folder in config["pairs"]), default=2 * gsd_m
    )
    return (low * gsd_m, high * gsd_m), (0.65 * gsd_m, _COARSER * coarsest_m)


def export(run: Path, out: Path, *, name: str, provenance: str, credit: str) -> Weights:
    """Write the weights of a run for serving.

    Args:
        run: a folder made by `fit`, whose pairs are where they were.
        out: the `.safetensors` file to write.
        name: what headers and pictures call the model.
        provenance: a sentence that says what it was trained on.
        credit: whose pictures taught it.

    Raises:
        RunError: the run has no weights.
        DatasetError: its pairs are gone; the halo is measured on their old validation chips.
    """
    if not (run / WEIGHTS).is_file() or not (run / CONFIG).is_file():
        raise RunError(f"{run.name} has no weights yet: train with `orthosharp-train fit` first")
    config = json.loads((run / CONFIG).read_text())
    pictures = [pair.old for pair in load_pairs([Path(folder) for folder in config["pairs"]], "validation")]
    trained = load_weights(run / WEIGHTS)
    gsd_range_m, source_gsd_range_m = _ranges(config, trained.spec.gsd_m)
    spec = replace(
        trained.spec,
        gsd_range_m=gsd_range_m,
        source_gsd_range_m=source_gsd_range_m,
        halo_px=measure_halo(trained, pictures),
        name=name,
        provenance=provenance,
        credit=credit,
    )
    return save_weights(out, spec, trained.state)
