"""A run's last weights to a file that the server takes: the halo measured, half precision, the spec complete.

Beside it lie a model card, a STAC item and, if asked for, an ONNX model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.atomic import write_atomic
from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights, save_weights
from training.data.dataset import CropDataset, Item, load_pairs, load_sharp
from training.data.manifest import read_site
from training.errors import RunError
from training.export.lineage import lineage, read_scores
from training.export.model_card import model_card
from training.export.onnx_file import write_onnx
from training.export.stac import stac_item
from training.fit.divergence import BEST
from training.fit.divergence import LAST as WEIGHTS
from training.fit.run import CONFIG

UInt8Array = npt.NDArray[np.uint8]
Range = tuple[float, float]

# The moving average at the run's end, and where it did best on the validation chips.
TAKEN: Final = {"last": WEIGHTS, "best": BEST}
# Mean difference at a window's border, in grey levels, below which more context changes nothing that is seen.
_TOLERANCE: Final = 0.25
_FAR_PX: Final = 160
_CORE_PX: Final = 64
# A photograph may be this much coarser than the coarsest in training, and finer than the finest pixel size.
_COARSER: Final = 1.6
_FINER: Final = 0.65
# Pictures that are aged for the halo, where a run had no pairs.
_AGED: Final = 16


def measure_halo(weights: Weights, pictures: Sequence[UInt8Array]) -> int:
    """The smallest multiple of the stride that covers the network's effective receptive field.

    Every window is restored with much context and with less and less; what counts is the mean difference in the
    outermost pixels of its core, where two windows would meet.

    Args:
        weights: the trained network.
        pictures: uint8 [H, W, 3], such as old chips; those under 384 px are mirrored until they are as large, where
            none is.

    Raises:
        RunError: there is no picture, or no halo suffices.
    """
    side = _CORE_PX + 2 * _FAR_PX
    large = [picture for picture in pictures if min(picture.shape[:2]) >= side]
    windows = [picture[:side, :side] for picture in large or [_mirrored(one, side) for one in pictures]]
    if not windows:
        raise RunError(
            "the halo cannot be measured: the run has no picture for it; make pairs with more chips"
        )
    # The filters that keep a photograph's colours are widest at the largest ratio.
    photo = PhotoContext(weights.spec.ratio_range[1] or 1.0)
    restorer = Restorer.from_weights(weights)
    truth = [
        restorer.restore(window[None], photo)[0][_FAR_PX:-_FAR_PX, _FAR_PX:-_FAR_PX] for window in windows
    ]
    for halo in range(weights.spec.stride, _FAR_PX, weights.spec.stride):
        cut = _FAR_PX - halo
        differences = []
        for window, wanted in zip(windows, truth, strict=True):
            less = restorer.restore(np.ascontiguousarray(window[None, cut:-cut, cut:-cut]), photo)[0]
            difference = np.abs(less[halo:-halo, halo:-halo].astype(np.int16) - wanted)
            differences.append(
                float(np.mean([difference[0], difference[-1], difference[:, 0], difference[:, -1]]))
            )
        if np.mean(differences) <= _TOLERANCE:
            return halo
    raise RunError(f"even a halo of {_FAR_PX} px does not cover the receptive field: train a smaller network")


def _mirrored(picture: UInt8Array, side: int) -> UInt8Array:
    """At least `side` px in both directions."""
    height, width = picture.shape[:2]
    missing = ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0))
    return np.pad(picture, missing, mode="symmetric")


def _ranges(config: dict[str, Any], spec: ModelSpec) -> dict[str, Range]:
    """What the run has seen: pixel sizes by scale jitter, and photographs somewhat softer than those it learnt from.

    Ratios stand in the spec already; sharp pictures that were aged do not tell relative weights their pixel size.
    """
    olds_m = [float(read_site(Path(folder))["old_gsd_m"]) for folder in config["pairs"]]
    if spec.is_relative:
        if not olds_m:
            return {}
        return {"source_gsd_range_m": (_FINER * min(olds_m), _COARSER * max(olds_m))}
    low, high = config["scale_range"]
    coarsest_m = max(olds_m, default=2 * spec.gsd_m)
    return {
        "gsd_range_m": (low * spec.gsd_m, high * spec.gsd_m),
        "source_gsd_range_m": (_FINER * spec.gsd_m, _COARSER * coarsest_m),
    }


def _old_pictures(config: dict[str, Any]) -> list[UInt8Array]:
    """What the halo is measured on: old validation chips, or where a run had no pairs, what it aged, aged."""
    if config["pairs"]:
        return [pair.old for pair in load_pairs([Path(folder) for folder in config["pairs"]], "validation")]
    side = _CORE_PX + 2 * _FAR_PX
    sharp = [_mirrored(picture, side) for picture in load_sharp(config["degrade"])]
    crops = CropDataset([], sharp, aged_share=1.0, seed=config["seed"])
    return [crops[Item(number, side)][0].permute(1, 2, 0).numpy() for number in range(_AGED)]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        weights: as `load_weights` reads them from the file.
        files: the weights, the ONNX model if one was asked for, the model card, the STAC item.
        onnx_difference: the largest difference from torch, as a share of the range from black to white.
    """

    weights: Weights
    files: tuple[Path, ...]
    onnx_difference: float | None = None


def export(
    run: Path,
    out: Path,
    *,
    name: str = "",
    provenance: str,
    credit: str,
    licence: str = "Apache-2.0",
    take: str = "last",
    scores: Path | None = None,
    onnx: bool = False,
) -> Exported:
    """Write the weights of a run for serving, and beside them what tells others about them.

    Args:
        run: a folder made by `fit`, whose pairs and pictures are where they were.
        out: the `.safetensors` file to write.
        name: what headers and pictures call the model; by default its architecture's.
        provenance: a sentence that says what it was trained on.
        credit: whose pictures taught it.
        licence: who may use the weights, as an SPDX identifier.
        take: which of the run's weights, `last` or `best`.
        scores: what `evaluate --json` wrote about these weights.
        onnx: whether to write an ONNX model too.

    Raises:
        RunError: provenance or credit is empty, the run has no weights, the scores are of others, or ONNX and torch
            differ.
        DatasetError: its pairs are gone, or what it aged; the halo is measured on their old validation chips.
    """
    if out.suffix != ".safetensors":
        raise RunError(f"{out.name} would hold safetensors: name it {out.stem}.safetensors")
    for said, option in ((provenance, "--provenance"), (credit, "--credit")):
        if not said.strip():
            raise RunError(
                f"{option} is empty: say what the network was trained on, and whose pictures taught it"
            )
    source = run / TAKEN[take]
    if not (run / WEIGHTS).is_file() or not (run / CONFIG).is_file():
        raise RunError(f"{run.name} has no weights yet: train with `orthosharp-train fit` first")
    if not source.is_file():
        raise RunError(
            f"{run.name} has no {source.name}, for it never looked at validation chips: --take last"
        )
    config = json.loads((run / CONFIG).read_text())
    trained = load_weights(source)
    metrics = read_scores(scores, trained.digest) if scores else {}
    ranges: dict[str, Any] = _ranges(config, trained.spec)
    spec = replace(
        trained.spec,
        **ranges,
        halo_px=measure_halo(trained, _old_pictures(config)),
        name=name or trained.spec.name,
        licence=licence,
        provenance=provenance,
        credit=credit,
        training=lineage(config),
        metrics=metrics,
    )
    weights = save_weights(out, spec, trained.state)
    files, difference = [out], None
    if onnx:
        files.append(out.with_suffix(".onnx"))
        difference = write_onnx(files[-1], weights)
    files.append(out.with_suffix(".md"))
    write_atomic(files[-1], model_card(weights, files[:-1], difference).encode())
    item = stac_item(weights, files)
    files.append(out.with_suffix(".stac.json"))
    write_atomic(files[-1], (json.dumps(item, indent=2, allow_nan=False) + "\n").encode())
    return Exported(weights, tuple(files), difference)
