"""Every choice of a training run in one frozen value, stored beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sr_model.atomic import write_atomic
from training.data.ageing import Ageing
from training.errors import TrainingError

# Weight of `grid` for half_scale, whose shuffles are not blurred: at the others' it learns nothing but to draw nothing.
HALF_SCALE_GRID: Final = 0.3

# Shares of the photograph's own texture that relative weights keep, everywhere and in woods, as the bundled ones do.
OWN_TEXTURE: Final = (0.15, 0.5)

# The file of a run's folder that holds its choices.
CONFIG: Final = "config.json"
# What may change between a stop and its resumption without changing a number: where files lie, who loads them.
_FREE: Final = frozenset(
    {"pairs", "keep_season", "degrade", "perceptual", "workers", "validate_every", "threads"}
)


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; see `training.fit.losses`. Feature weights go from VGG's shallow taps to its deep ones."""

    pixel_real: float = 0.3
    pixel_aged: float = 5.0
    colour: float = 20.0
    perceptual: float = 0.002
    style: float = 2e-4
    features: tuple[float, ...] = (0.0, 2.0, 5.0, 15.0)
    gram: tuple[float, ...] = (0.0, 0.0, 2.0, 4.0)
    structure: float = 14.0
    fringe: float = 10.0
    phase: float = 3.0
    grid: float = 6.0
    spectrum: float = 4.0
    adversarial: tuple[float, ...] = (2.0, 0.3, 0.12, 0.05)

    @property
    def pixels_only(self) -> bool:
        """Whether no term needs VGG or the discriminator."""
        return not (self.perceptual or self.style or any(self.adversarial))

    @classmethod
    def of_pixels(cls) -> LossWeights:
        """Colours and structure alone: a fast start, before textures are asked for."""
        return cls(perceptual=0.0, style=0.0, spectrum=0.0, adversarial=(0.0,) * 4)


@dataclass(frozen=True)
class FitConfig:
    """One run of `orthosharp-train fit`.

    Attributes:
        pairs, degrade: folders of pairs, and pictures to age.
        keep_season: those of the pairs whose colours are not learnt, see `training.data.season`.
        perceptual: `imagenet`, or a safetensors file with VGG16's features.
        architecture: of the network, see `sr_model.network`.
        colours: `network`, which translates them and makes weights of one pixel size, or `photo`, which leaves them to
            the photograph and makes relative weights; see `sr_model.ModelSpec`.
        gsd_m: pixel size of weights that translate colours; relative ones have none.
        encoder: what ResNet-34's starts from: `imagenet` (frozen at first), or `none`.
        steps: of the whole run.
        batch: crops per step and device, at the first size.
        sizes_px: sides of the crops, growing; see `training.fit.schedule.crops_at`.
        perceptual_share, perceptual_every: share of a batch that VGG sees, one of so many, and in which steps.
        scale_range: pixel sizes shown, in those of the pairs.
        aged_share: share of crops that are aged instead of real.
        ageing: how the old photograph is aged, where it was measured; None ages as old photographs in general are.
        lr, weight_decay, ema: of AdamW, and of the moving average.
        seed: of every draw.
        precision: `auto`, or one of Lightning's names.
        devices, nodes: how many train together; each sees its own crops.
        threads: that torch computes with on a processor; 0 is as many as torch takes by itself.
        own_texture: shares of the photograph's own texture that relative weights keep, everywhere and in woods, see
            `sr_model.texture`.
        workers: processes that load, per device; 0 is as many as the processors allow.
        validate_every: steps between two looks at the validation chips; 0 is never.
        loss: weights of the terms.
        start_networks: networks whose features the loss of the weights to start from used; they cannot judge.
    """

    pairs: tuple[str, ...]
    keep_season: tuple[str, ...] = ()
    degrade: tuple[str, ...] = ()
    perceptual: str = "imagenet"
    architecture: str = "compact"
    colours: str = "network"
    encoder: str = "imagenet"
    gsd_m: float = 0.3048
    steps: int = 5000
    batch: int = 16
    sizes_px: tuple[int, ...] = (112,)
    perceptual_share: float = 0.5
    perceptual_every: int = 2
    scale_range: tuple[float, float] = (0.7, 1.4)
    aged_share: float = 0.2
    ageing: Ageing | None = None
    lr: float = 4e-4
    weight_decay: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int = 0
    own_texture: tuple[float, float] = OWN_TEXTURE
    workers: int = 0
    validate_every: int = 500
    loss: LossWeights = field(default_factory=LossWeights)
    start_networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sizes_px or list(self.sizes_px) != sorted(self.sizes_px):
            raise TrainingError(f"the sizes {self.sizes_px} do not grow: give --sizes like 128,256,500")
        if self.colours == "photo" and self.architecture != "half_scale":
            raise TrainingError(
                f"{self.architecture} is not made for relative weights: leave out --architecture, or --colours photo"
            )

    @property
    def world(self) -> int:
        """Number of devices that train together."""
        return self.devices * self.nodes

    def write(self, path: Path) -> None:
        """Save as JSON."""
        write_atomic(path, (json.dumps(asdict(self), indent=2) + "\n").encode())

    def differences(self, path: Path) -> list[str]:
        """Names of the choices that a saved run made otherwise and that its numbers depend on."""
        saved, own = (_flat(json.loads(text)) for text in (path.read_text(), json.dumps(asdict(self))))
        return sorted(name for name in saved.keys() & own.keys() - _FREE if saved[name] != own[name])


def _flat(choices: dict[str, Any]) -> dict[str, Any]:
    """The terms' weights as `loss.TERM` beside the other choices."""
    weights: dict[str, float] = choices.pop("loss")
    return choices | {f"loss.{name}": weight for name, weight in weights.items()}
