"""Export the weights of a run for the server: measure the halo, complete the spec, write half precision.

A model card, a STAC item and, on request, an ONNX model are written beside them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.atomic import write_atomic
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights, save_weights
from training.data.dataset import CropDataset, Item, load_pairs, load_sharp
from training.data.manifest import read_site
from training.data.taught import list_crops, on_grid
from training.errors import RunError
from training.export.lineage import lineage, read_scores
from training.export.model_card import model_card
from training.export.onnx_file import write_onnx
from training.export.stac import stac_item
from training.fit.config import CONFIG
from training.fit.divergence import BEST
from training.fit.divergence import LAST as WEIGHTS
from training.measure.halo import HALO_WINDOW_PX, measure_halo, mirrored

UInt8Array = npt.NDArray[np.uint8]
Range = tuple[float, float]

# The moving average at the run's end, and where it did best on the validation chips.
TAKEN: Final = {"last": WEIGHTS, "best": BEST}
# A photograph may be this much coarser than the coarsest in training, and finer than the finest pixel size.
_COARSER: Final = 1.6
_FINER: Final = 0.65
# Pictures that are aged for the halo, where a run had no pairs.
_AGED: Final = 16


def _ranges(config: dict[str, Any], spec: ModelSpec) -> dict[str, Range]:
    """Return the pixel sizes that the run covers by scale jitter, and those of somewhat softer photographs.

    Ratios are in the spec already. Sharp pictures that were aged say nothing about the pixel sizes of relative weights.
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
    """Return the pictures to measure the halo on: old validation chips, a teacher's crops, or aged sharp pictures."""
    if config["pairs"]:
        return [pair.old for pair in load_pairs([Path(folder) for folder in config["pairs"]], "validation")]
    if config.get("crops"):
        crops = list_crops([Path(folder) for folder in config["crops"]], "validation")[:_AGED]
        return [(255 * on_grid(crop, HALO_WINDOW_PX)[0]).astype(np.uint8) for crop in crops]
    sharp = [mirrored(picture, HALO_WINDOW_PX) for picture in load_sharp(config["degrade"])]
    aged = CropDataset([], sharp, aged_share=1.0, seed=config["seed"])
    return [aged[Item(number, HALO_WINDOW_PX)][0].permute(1, 2, 0).numpy() for number in range(_AGED)]


@dataclass(frozen=True)
class Exported:
    """The files of an export.

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
    """Write the weights of a run for serving, and beside them a model card, a STAC item and an ONNX model.

    Args:
        run: a folder made by `fit`, whose pairs and pictures are where they were.
        out: the `.safetensors` file to write.
        name: name of the model in headers and pictures; by default its architecture's.
        provenance: a sentence on the data that it was trained on.
        credit: attribution of the photographs that it was trained on.
        licence: licence of the weights, as an SPDX identifier.
        take: which weights of the run, `last` or `best`.
        scores: the file that `evaluate --json` wrote about these weights.
        onnx: whether to write an ONNX model too.

    Raises:
        RunError: provenance or credit is empty, the run has no weights, the scores are of others, or ONNX and torch
            differ.
        DatasetError: its pairs or the pictures that it aged are gone; the halo is measured on them.
    """
    for text, option in ((provenance, "--provenance"), (credit, "--credit")):
        if not text.strip():
            raise RunError(
                f"{option} is empty: say what the network was trained on, and whose pictures taught it"
            )
    source = _check(run, out, take)
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
    return _write(out, save_weights(out, spec, trained.state), onnx=onnx)


def _check(run: Path, out: Path, take: str) -> Path:
    """Return the weights to export; refuse a run without them and a file that is not named as weights."""
    if out.suffix != ".safetensors":
        raise RunError(f"{out.name} would hold safetensors: name it {out.stem}.safetensors")
    if not (run / WEIGHTS).is_file() or not (run / CONFIG).is_file():
        raise RunError(f"{run.name} has no weights yet: train with `orthosharp-train fit` first")
    source = run / TAKEN[take]
    if not source.is_file():
        raise RunError(
            f"{run.name} has no {source.name}, for it never looked at validation chips: --take last"
        )
    return source


def _write(out: Path, weights: Weights, *, onnx: bool) -> Exported:
    """Write the files beside the weights `out`."""
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
