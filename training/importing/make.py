"""A super-resolution model of others as weights that the server takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from sr_model.binding import CELL_PX, reach_px
from sr_model.errors import WeightsError
from sr_model.names import plain_name
from sr_model.single_image import REDUCTION_LOBES, read_model
from sr_model.spec import SINGLE_IMAGE, ModelSpec
from sr_model.weights import Weights, save_weights
from training.errors import ImportRefusedError
from training.importing.measure import Measured, measure
from training.importing.read import file_sha256, read_state

# Of both ratios: half an octave to either side suits every native zoom, and 0.85 octaves can be asked for.
_RANGE: Final = (0.705, 1.415)
_MOST: Final = 1.8


@dataclass(frozen=True)
class Terms:
    """What the weights say about where they come from.

    Attributes:
        licence: the model's, an SPDX identifier.
        credit: who made the model.
        name: what headers and pictures call it; by default its file's name.
        provenance: a sentence; by default the file's name and architecture.
    """

    licence: str
    credit: str
    name: str = ""
    provenance: str = ""


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        weights: as `load_weights` reads them.
        architecture: the model's.
        scale: the factor by which it enlarges.
        measured: how the server has to treat it.
    """

    weights: Weights
    architecture: str
    scale: int
    measured: Measured


def import_model(
    model: Path, out: Path, ratio: int, terms: Terms, *, own_texture: float, own_texture_in_woods: float
) -> Imported:
    """Read a model, measure it, and write weights of relative scale that keep the photograph's colours.

    Args:
        model: see `training.importing.read.read_state`.
        out: the `.safetensors` file to write; an existing one is replaced.
        ratio: pixel size of the photograph over that of the restored picture.
        terms: licence and credit, which must not be empty.
        own_texture, own_texture_in_woods: see `ModelSpec`.

    Raises:
        ImportRefusedError: the model cannot be served, with the reason.
        RuntimeUnavailableError: spandrel is not installed.
    """
    if out.suffix != ".safetensors":
        raise ImportRefusedError(f"{out.name} would hold safetensors: name it {out.stem}.safetensors")
    for option, text in (("licence", terms.licence), ("credit", terms.credit)):
        if not text.strip():
            raise ImportRefusedError(f"--{option} is empty: the weights carry it to everyone who serves them")
    state = read_state(model)
    try:
        descriptor = read_model(state)
    except WeightsError as error:
        raise ImportRefusedError(f"{model.name}: {error}") from error
    if descriptor.scale % ratio:
        raise ImportRefusedError(
            f"{model.name} enlarges {descriptor.scale} times, which is not a multiple of --ratio {ratio}: "
            + ("give --ratio 2" if descriptor.scale % 2 == 0 else "use a model that enlarges 2, 4 or 8 times")
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measured = measure(descriptor.to(device), descriptor.scale, device)
    spec = _spec(
        descriptor, measured, ratio, own_texture, own_texture_in_woods, **_words(model, descriptor, terms)
    )
    weights = save_weights(out, spec, state, dtype=_stored_as(state))
    return Imported(weights, descriptor.architecture.name, descriptor.scale, measured)


def _words(model: Path, descriptor: Any, terms: Terms) -> dict[str, Any]:
    """Name, terms and lineage of a spec."""
    architecture = descriptor.architecture.name
    return {
        "name": terms.name or plain_name(model.stem),
        "licence": terms.licence,
        "credit": terms.credit,
        "provenance": terms.provenance or f"Imported from {model.name} ({architecture}).",
        "training": {
            "imported": {
                "file": model.name,
                "sha256": file_sha256(model),
                "architecture": architecture,
                "tags": list(descriptor.tags),
            }
        },
    }


def _spec(
    descriptor: Any,
    measured: Measured,
    ratio: int,
    own_texture: float,
    own_texture_in_woods: float,
    **words: Any,
) -> ModelSpec:
    # Windows begin where parts may begin, and where the blocks do that keep the photograph's colours.
    stride = math.lcm(2 * CELL_PX, ratio * measured.step_px)
    low, high = (round(ratio * end, 2) for end in _RANGE)
    spec = ModelSpec(
        architecture=SINGLE_IMAGE,
        ratio=float(ratio),
        ratio_range=(low, high),
        max_ratio=_MOST * ratio,
        colours="photo",
        own_texture=own_texture,
        own_texture_in_woods=own_texture_in_woods,
        stride=stride,
        halo_px=0,
        config={
            "scale": descriptor.scale,
            "part_px": measured.part_px,
            "context_px": measured.context_px,
            "step_px": measured.step_px,
        },
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        **words,
    )
    return replace(spec, halo_px=_halo_px(spec, measured))


def _halo_px(spec: ModelSpec, measured: Measured) -> int:
    """What the model sees around its output, and around that what colours need, in pixels of the output.

    The reduction to the photograph's pixels looks three of them further.
    """
    stride = spec.stride
    seen = math.ceil(round(spec.ratio) * (measured.context_px + REDUCTION_LOBES) / stride) * stride
    trimmed = math.ceil((seen + reach_px(spec)) / stride) * stride
    # The server keeps some pixels of the halo to interpolate with, and trims the whole strides of the rest.
    return trimmed + stride


def _stored_as(state: Mapping[str, Tensor]) -> torch.dtype:
    """Half precision where the file has nothing finer: what the authors shared is kept as it is."""
    floats = {value.dtype for value in state.values() if value.is_floating_point()}
    return torch.float16 if floats == {torch.float16} else torch.float32
