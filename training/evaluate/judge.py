"""The choice of the network that judges the feature distance: never one that the loss used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from sr_model.shipped import BUNDLED, bundled_weights_path
from sr_model.spec import ModelSpec
from sr_model.weights import load_weights
from training.errors import TrainingError
from training.fit.config import LossWeights
from training.measure.feature_distance import FeatureJudge, open_judge
from training.measure.judge_networks import EFFICIENTNET, VGG16

# A term of the loss that only runs on crops have; they compare features of EfficientNet-Lite0.
TAUGHT_TERM: Final = "luminance"
# Networks in the loss of the networks that ship with the package, as the model card says.
BUNDLED_LOSS: Final = (EFFICIENTNET,)


@dataclass(frozen=True)
class ChosenJudge:
    """The judge of an evaluation.

    Attributes:
        features: it, or None where the feature distance is left out.
        loss_networks: those whose features the loss used; None where that is unknown.
    """

    features: FeatureJudge | None = None
    loss_networks: tuple[str, ...] | None = None

    @property
    def sentence(self) -> str:
        """One line that names the judge and the networks of the loss."""
        used = self.loss_networks
        if used is None:
            loss = "the weights do not say which network their loss used (--loss-network does)"
        else:
            loss = f"the loss used {' and '.join(used) or 'none'}"
        if self.features is not None:
            return f"Feature distance judged by {self.features.name}; {loss}."
        return f"Feature distance left out; {loss}."

    def as_json(self) -> dict[str, Any]:
        """`features` and `loss`, names of networks or null."""
        name = None if self.features is None else self.features.name
        return {"features": name, "loss": None if self.loss_networks is None else list(self.loss_networks)}


def choose_judge(loss_networks: tuple[str, ...] | None, vgg16: Path | None = None) -> ChosenJudge:
    """A judge that the loss did not use; none where only such ones are left.

    Args:
        loss_networks: of the weights that are judged, see `loss_networks_of`.
        vgg16: a safetensors file with VGG16's features, which shall judge.

    Raises:
        TrainingError: the loss used VGG16 too, or the file is not one of VGG16.
    """
    used = loss_networks or ()
    if vgg16 is not None and VGG16 in used:
        raise TrainingError(
            f"--judge {vgg16.name}: the loss of these weights used {VGG16}, which cannot judge them"
            + ("" if EFFICIENTNET in used else f": leave --judge out, and {EFFICIENTNET} judges")
        )
    if vgg16 is None and EFFICIENTNET in used:
        return ChosenJudge(None, loss_networks)
    return ChosenJudge(open_judge(used, vgg16), loss_networks)


def loss_networks_of(weights: Path, spec: ModelSpec, named: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Networks whose features the loss used, that of the weights to start from included.

    None where neither the weights nor their run nor `named` tell.

    Args:
        weights: a file; beside one that `fit` wrote lies the run's `config.json`.
        spec: of the weights; `export` stores the run's choices in it.
        named: networks that the loss is said to have used besides.
    """
    choices = _choices_of(weights, spec)
    loss = choices.get("loss")
    if isinstance(loss, Mapping):
        own = {*_networks_of(loss), *choices.get("start_networks", ())}
    elif is_bundled(spec):
        own = set(BUNDLED_LOSS)
    else:
        return tuple(sorted(set(named))) or None
    return tuple(sorted({*named, *own}))


def is_bundled(spec: ModelSpec) -> bool:
    """Whether a spec is that of a network that ships with the package; those do not tell the choices of their runs."""
    return any(spec == load_weights(bundled_weights_path(name)).spec for name in BUNDLED)


def _networks_of(loss: Mapping[str, Any]) -> tuple[str, ...]:
    if TAUGHT_TERM in loss:
        return (EFFICIENTNET,) if loss.get("features") else ()
    known = {field.name for field in fields(LossWeights)} & loss.keys()
    return () if LossWeights(**{name: loss[name] for name in known}).pixels_only else (VGG16,)


def _choices_of(weights: Path, spec: ModelSpec) -> Mapping[str, Any]:
    """The choices of the run, from the spec or from the run's folder; empty where both are silent."""
    choices: Any = spec.training.get("choices")
    beside = weights.with_name("config.json")
    if choices is None and beside.is_file():
        try:
            choices = json.loads(beside.read_text())
        except ValueError:
            return {}
    return choices if isinstance(choices, Mapping) else {}
