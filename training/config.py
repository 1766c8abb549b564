"""Every choice of a training run in one frozen value, stored beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; see `training.losses`. Feature weights go from VGG's shallow taps to its deep ones."""

    pixel_real: float = 0.5
    pixel_aged: float = 8.0
    colour: float = 6.0
    perceptual: float = 0.002
    style: float = 2e-4
    features: tuple[float, ...] = (0.0, 2.0, 5.0, 15.0)
    gram: tuple[float, ...] = (0.0, 0.0, 2.0, 4.0)
    structure: float = 9.0
    fringe: float = 10.0
    phase: float = 3.0
    grid: float = 3.0
    spectrum: float = 0.3
    adversarial: tuple[float, ...] = (1.0, 0.15, 0.06, 0.02)

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
    """One run of `orthosharp-train fit`."""

    pairs: tuple[str, ...]
    degrade: tuple[str, ...] = ()
    perceptual: str = "imagenet"
    architecture: str = "compact"
    gsd_m: float = 0.3048
    steps: int = 5000
    batch: int = 16
    crop_px: int = 112
    perceptual_share: float = 0.5
    perceptual_every: int = 2
    scale_range: tuple[float, float] = (0.7, 1.4)
    aged_share: float = 0.2
    lr: float = 2.5e-4
    weight_decay: float = 1e-3
    adversarial_from: float = 0.0
    ema: float = 0.998
    seed: int = 0
    precision: str = "auto"
    loss: LossWeights = field(default_factory=LossWeights)

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")
