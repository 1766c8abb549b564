"""What a set of weights declares about itself; the server obeys it and no user sets it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from sr_model.errors import GsdMismatchError, WeightsError

# Means and deviations of ImageNet, in [0, 1]: torchvision's encoders expect them.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

# What HTTP headers can carry.
_NAME: Final = re.compile(r"[A-Za-z0-9._ -]{1,64}")

# Fields that came later; their absence and their emptiness are the same.
_OPTIONAL: Final = ("training", "metrics")

Config = Mapping[str, "int | tuple[int, ...]"]


def _untrained_ranges(gsd_m: float) -> dict[str, Any]:
    """What a fresh network aims at; `orthosharp-train export` writes what it has seen."""
    return {
        "gsd_m": gsd_m,
        "gsd_range_m": (0.7 * gsd_m, 1.4 * gsd_m),
        "source_gsd_range_m": (0.65 * gsd_m, 3.2 * gsd_m),
    }


@dataclass(frozen=True)
class ModelSpec:
    """The contract between training and serving, stored inside every weights file.

    Attributes:
        name: what pictures and headers call the model; at most 64 letters, digits, spaces and `._-`.
        architecture: `compact` or `resnet34`, see `sr_model.network`.
        gsd_m: ground sample distance of input and output, in metres per pixel.
        gsd_range_m: pixel sizes seen in training (scale jitter), so the ones that tiles may have.
        source_gsd_range_m: native pixel sizes of photographs that the weights can restore.
        stride: total stride of the network; origins and sizes of windows are multiples of it.
        halo_px: context around a window, a multiple of `stride`, that covers the effective receptive field.
        config: sizes of the architecture.
        mean, std: normalisation of RGB in [0, 1].
        licence, credit, provenance: who may use it, whose pictures taught it, and how.
        training: the photographs and choices of the run, as JSON values; empty in older weights.
        metrics: what `orthosharp-train evaluate` measured, as JSON values; empty where nothing was.
    """

    name: str
    architecture: str
    gsd_m: float
    gsd_range_m: tuple[float, float]
    source_gsd_range_m: tuple[float, float]
    stride: int
    halo_px: int
    config: Config = field(default_factory=dict, hash=False)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = "Apache-2.0"
    credit: str = ""
    provenance: str = "untrained"
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)
    metrics: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for pair in ("gsd_range_m", "source_gsd_range_m", "mean", "std"):
            object.__setattr__(self, pair, tuple(float(value) for value in getattr(self, pair)))
        frozen = {key: tuple(v) if isinstance(v, list | tuple) else int(v) for key, v in self.config.items()}
        object.__setattr__(self, "config", MappingProxyType(frozen))
        for name in _OPTIONAL:
            # A copy as JSON gives it back, so that the text of the spec is the same after it was read.
            plain = json.loads(json.dumps(dict(getattr(self, name)), allow_nan=False))
            object.__setattr__(self, name, MappingProxyType(plain))
        if not _NAME.fullmatch(self.name):
            raise WeightsError(
                f"the model's name {self.name!r} does not fit into a header: export the weights with a name "
                "of 1 to 64 letters A-Z, digits, spaces, dots, - and _"
            )
        if self.stride < 1 or self.halo_px < 0 or self.halo_px % self.stride:
            raise WeightsError(
                f"halo_px {self.halo_px} is no multiple of stride {self.stride}: "
                "the weights' spec is damaged; export the weights again"
            )
        low, high = self.gsd_range_m
        if not 0 < low <= self.gsd_m <= high:
            raise WeightsError(
                f"gsd_m {self.gsd_m} is outside gsd_range_m {low}-{high}: "
                "the weights' spec is damaged; export the weights again"
            )

    @classmethod
    def compact(
        cls,
        *,
        width: int = 48,
        blocks: int = 2,
        grain: bool = True,
        gsd_m: float = 0.3048,
        halo_px: int = 64,
        name: str = "compact",
    ) -> ModelSpec:
        """Spec of the small network.

        Args:
            width: scales every layer; 8 gives a toy for tests.
            blocks: residual blocks at strides 8 and 16 each.
            grain: whether it takes a fourth plane, see `sr_model.pixels.grain_plane`.
            gsd_m, halo_px, name: see `ModelSpec`.
        """
        return cls(
            name=name,
            architecture="compact",
            **_untrained_ranges(gsd_m),
            stride=16,
            halo_px=halo_px,
            config={"width": width, "blocks": blocks, "grain": int(grain)},
        )

    @classmethod
    def resnet34(
        cls, *, grain: bool = True, gsd_m: float = 0.3048, halo_px: int = 96, name: str = "resnet34"
    ) -> ModelSpec:
        """Spec of the published network: ResNet-34 encoder, PixelShuffle decoder; arguments as of `compact`."""
        return cls(
            name=name,
            architecture="resnet34",
            **_untrained_ranges(gsd_m),
            stride=32,
            halo_px=halo_px,
            config={"grain": int(grain)},
        )

    @property
    def planes(self) -> int:
        """What the network takes: red, green, blue, and a plane of grain where it was trained with one."""
        return 3 + bool(self.config.get("grain", 0))

    def check_source_gsd(self, gsd_m: float) -> None:
        """Refuse a photograph that the weights cannot restore.

        Args:
            gsd_m: the photograph's native ground sample distance in metres per pixel.

        Raises:
            GsdMismatchError: it is outside `source_gsd_range_m`.
        """
        low, high = self.source_gsd_range_m
        if not low <= gsd_m <= high:
            way_out = (
                "use weights trained for finer photographs"
                if gsd_m < low
                else "use weights trained for coarser photographs"
            )
            raise GsdMismatchError(
                f"the photograph has {gsd_m:.3g} m per pixel, but {self.name} restores photographs of "
                f"{low:.3g} to {high:.3g} m per pixel: {way_out}, or train some with orthosharp-train"
            )

    def to_json(self) -> str:
        """Canonical JSON: the same spec gives the same text.

        What is optional and empty is left out, so that the digests of older weights stay true.
        """
        document = {item.name: getattr(self, item.name) for item in fields(self)} | {
            "config": dict(self.config)
        }
        for name in _OPTIONAL:
            chosen = dict(document.pop(name))
            if chosen:
                document[name] = chosen
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            WeightsError: the text is no spec.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            known = {item.name for item in fields(cls)}
            return cls(**{key: value for key, value in document.items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"the spec inside the weights cannot be read ({error}): export them again"
            ) from error
