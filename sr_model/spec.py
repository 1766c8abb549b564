"""The properties that a set of weights declares; the server follows them and no user sets them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal

from sr_model.errors import GsdMismatchError, WeightsError

# Means and deviations of ImageNet, in [0, 1]: torchvision's encoders expect them.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

# Names that HTTP headers can carry.
_NAME: Final = re.compile(r"[A-Za-z0-9._ -]{1,64}")

# Fields that came later, or that one kind of weights lacks; their absence and their emptiness are the same.
_OPTIONAL: Final = ("training", "metrics")
_PAIR: Final = {"gsd_m": 0.0, "gsd_range_m": (0.0, 0.0), "source_gsd_range_m": (0.0, 0.0)}
_RELATIVE: Final = {"ratio": 0.0, "ratio_range": (0.0, 0.0), "max_ratio": 0.0, "colours": "network"}
_OWN_TEXTURE: Final = {"own_texture": 0.0, "own_texture_in_woods": 0.0}
# Pixel sizes are told in two or three digits, and a projection's scale changes them by some thousandths.
_ROUNDING: Final = 0.01

Config = Mapping[str, "int | tuple[int, ...]"]

# Architecture of super-resolution models of others, see `sr_model.single_image`.
SINGLE_IMAGE: Final = "single_image"

# Three sizes of the half-scale network, of 7k, 20k and 77k multiplications per output pixel.
HALF_SCALE_SIZES: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = MappingProxyType(
    {
        "small": {"widths": (16, 32, 64), "blocks": (1, 1, 1), "decoder_blocks": (1, 1)},
        "medium": {"widths": (32, 48, 64), "blocks": (1, 1, 2), "decoder_blocks": (1, 1)},
        "large": {"widths": (64, 96, 128), "blocks": (1, 1, 2), "decoder_blocks": (1, 1)},
    }
)


def _untrained_ranges(gsd_m: float) -> dict[str, Any]:
    """Ranges that a fresh network aims at; `orthosharp-train export` writes those that it has seen."""
    return {
        "gsd_m": gsd_m,
        "gsd_range_m": (0.7 * gsd_m, 1.4 * gsd_m),
        "source_gsd_range_m": (0.65 * gsd_m, 3.2 * gsd_m),
    }


# Of relative weights: half an octave around 2 suits every native zoom, and towns have photographs of these pixel sizes.
_ANY_PHOTO: Final[Mapping[str, Any]] = MappingProxyType(
    {"ratio": 2.0, "ratio_range": (1.41, 2.83), "max_ratio": 3.6, "source_gsd_range_m": (0.05, 2.0)}
)


def _damaged(fault: str) -> WeightsError:
    return WeightsError(f"{fault}: the weights' spec is damaged; export the weights again")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The contract between training and serving, stored inside every weights file.

    There are two kinds of weights. Those of a *pair* were trained on two photographs of the same ground and have one
    pixel size, `gsd_m`. *Relative* weights restore detail at a photograph's own scale, whatever its pixel size: they
    have a `ratio` instead. The fields of the other kind are 0, and absent from the file.

    Attributes:
        name: of the model in pictures and headers; at most 64 letters, digits, spaces and `._-`.
        architecture: `compact`, `half_scale` or `resnet34`, see `sr_model.network`; or `single_image`, an imported
            super-resolution model, see `sr_model.single_image`.
        gsd_m: ground sample distance of input and output, in metres per pixel (pair).
        gsd_range_m: pixel sizes seen in training (scale jitter), and therefore allowed for tiles (pair).
        source_gsd_range_m: native pixel sizes of photographs, in metres: the weights can restore no others (pair), or
            warn of others (relative).
        ratio: the best pixel size of the photograph, as a multiple of the output's (relative).
        ratio_range: ratios seen in training (relative).
        max_ratio: the largest ratio that may be asked for (relative).
        colours: `network`, whose output is taken as it is, or `photo`: edges are the network's, means of luminance
            and chroma are the photograph's, see `sr_model.binding` (relative).
        own_texture, own_texture_in_woods: shares, 0 to 1, of the photograph's own texture that the picture keeps
            everywhere, and where texture has no direction, see `sr_model.texture` (relative, `photo` only).
        stride: total stride of the network; origins and sizes of windows are multiples of it.
        halo_px: context around a window, a multiple of `stride`, that covers the effective receptive field.
        config: sizes of the architecture.
        mean, std: normalisation of RGB in [0, 1].
        licence, credit, provenance: terms of use, owners of the training pictures, and how it was trained.
        training: the photographs and choices of the run, as JSON values; empty in older weights.
        metrics: results of `orthosharp-train evaluate`, as JSON values; empty where nothing was measured.
    """

    name: str
    architecture: str
    gsd_m: float = 0.0
    gsd_range_m: tuple[float, float] = (0.0, 0.0)
    source_gsd_range_m: tuple[float, float] = (0.0, 0.0)
    ratio: float = 0.0
    ratio_range: tuple[float, float] = (0.0, 0.0)
    max_ratio: float = 0.0
    colours: Literal["network", "photo"] = "network"
    own_texture: float = 0.0
    own_texture_in_woods: float = 0.0
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
        for pair in ("gsd_range_m", "source_gsd_range_m", "ratio_range", "mean", "std"):
            object.__setattr__(self, pair, tuple(float(value) for value in getattr(self, pair)))
        for share in _OWN_TEXTURE:
            object.__setattr__(self, share, float(getattr(self, share)))
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
            raise _damaged(f"halo_px {self.halo_px} is not a multiple of stride {self.stride}")
        if self.is_relative:
            self._check_relative()
        else:
            self._check_pair()

    def _check_pair(self) -> None:
        low, high = self.gsd_range_m
        if not 0 < low <= self.gsd_m <= high:
            raise _damaged(f"gsd_m {self.gsd_m} is outside gsd_range_m {low}-{high}")
        if any(getattr(self, name) != empty for name, empty in (_RELATIVE | _OWN_TEXTURE).items()):
            raise _damaged(
                "the weights of a pair cannot have a ratio, or colours or texture of the photograph"
            )

    def _check_relative(self) -> None:
        low, high = self.ratio_range
        if self.gsd_m or any(self.gsd_range_m):
            raise _damaged("ratio and gsd_m exclude each other")
        if not 0 < low <= self.ratio <= high <= self.max_ratio:
            raise _damaged(
                f"ratio {self.ratio}, ratio_range {low}-{high} and max_ratio {self.max_ratio} do not go together"
            )
        if self.colours not in ("network", "photo"):
            raise _damaged(f"colours {self.colours!r} is neither 'network' nor 'photo'")
        shares = [getattr(self, name) for name in _OWN_TEXTURE]
        if not all(0 <= share <= 1 for share in shares):
            raise _damaged(
                f"shares of the photograph's own texture are {shares}, and not all between 0 and 1"
            )
        if self.colours == "network" and self.keeps_texture:
            raise _damaged("it keeps the photograph's texture, and yet the network's colours")

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

    @classmethod
    def half_scale(
        cls,
        *,
        widths: tuple[int, ...] = HALF_SCALE_SIZES["medium"]["widths"],
        blocks: tuple[int, ...] = HALF_SCALE_SIZES["medium"]["blocks"],
        decoder_blocks: tuple[int, ...] = HALF_SCALE_SIZES["medium"]["decoder_blocks"],
        gsd_m: float | None = None,
        colours: Literal["network", "photo"] = "photo",
        halo_px: int = 56,
        name: str = "half_scale",
    ) -> ModelSpec:
        """Spec of the network of relative scale, or of a pair's where a pixel size is given.

        Args:
            widths, blocks, decoder_blocks: see `sr_model.half_scale.HalfScaleUNet`; `HALF_SCALE_SIZES` has three sets.
            gsd_m: pixel size of a pair; by default the weights are relative.
            colours: see `ModelSpec`; those of a pair are the network's.
            halo_px, name: see `ModelSpec`.
        """
        scale = {**_ANY_PHOTO, "colours": colours} if gsd_m is None else _untrained_ranges(gsd_m)
        return cls(
            name=name,
            architecture="half_scale",
            **scale,
            stride=8,
            halo_px=halo_px,
            config={"widths": widths, "blocks": blocks, "decoder_blocks": decoder_blocks},
            mean=(0.45, 0.45, 0.45),
            std=(0.25, 0.25, 0.25),
        )

    @property
    def is_relative(self) -> bool:
        """Whether the weights restore at the photograph's own scale, instead of at one pixel size."""
        return self.ratio != 0

    @property
    def keeps_texture(self) -> bool:
        """Whether the picture keeps a share of the photograph's own texture, see `sr_model.texture`."""
        return any(getattr(self, name) for name in _OWN_TEXTURE)

    @property
    def planes(self) -> int:
        """Planes of the network's input: red, green, blue, and grain where it was trained with it."""
        return 3 + bool(self.config.get("grain", 0))

    def output_gsd_m(self, photo_gsd_m: float) -> float:
        """The pixel size that suits a photograph best, in metres.

        The native zoom is the one whose pixels are nearest to it, in octaves.

        Args:
            photo_gsd_m: resolution of the photograph (its pixel size, or coarser) in metres per pixel.
        """
        return photo_gsd_m / self.ratio if self.is_relative else self.gsd_m

    def ratio_of(self, photo_gsd_m: float, output_gsd_m: float) -> float:
        """Pixel size of the photograph over that of the output, both in metres on the ground.

        Raises:
            ValueError: a pixel size is not a positive number.
        """
        if not (photo_gsd_m > 0 and output_gsd_m > 0):
            raise ValueError(f"pixel sizes must be positive, got {photo_gsd_m} m and {output_gsd_m} m")
        return photo_gsd_m / output_gsd_m

    def trained_ratio(self, ratio: float) -> float:
        """A ratio, or the nearest to it that training saw (relative)."""
        low, high = self.ratio_range
        return min(max(ratio, low), high)

    def check_source_gsd(self, gsd_m: float) -> None:
        """Refuse a photograph that the weights cannot restore; relative weights refuse none, see `scale_warnings`.

        Args:
            gsd_m: the photograph's native ground sample distance in metres per pixel.

        Raises:
            GsdMismatchError: it is outside `source_gsd_range_m` of a pair's weights.
        """
        low, high = self.source_gsd_range_m
        if not self.is_relative and not low <= gsd_m <= high:
            way_out = (
                "use weights trained for finer photographs"
                if gsd_m < low
                else "use weights trained for coarser photographs"
            )
            raise GsdMismatchError(
                f"the photograph has {gsd_m:.3g} m per pixel, but {self.name} restores photographs of "
                f"{low:.3g} to {high:.3g} m per pixel: {way_out}, or train some with orthosharp-train"
            )

    def check_output_gsd(self, photo_gsd_m: float, output_gsd_m: float) -> None:
        """Refuse a pixel size that relative weights cannot restore a photograph at; a pair's accept any here.

        Args:
            photo_gsd_m: pixel size of the photograph, in metres. It may resolve less: its pixel counts here, so that
                what can be asked for does not depend on an estimate.
            output_gsd_m: the pixel size that was asked for, in metres.

        Raises:
            GsdMismatchError: the output would be coarser than the photograph, or finer than `max_ratio` allows.
        """
        ratio = self.ratio_of(photo_gsd_m, output_gsd_m)
        if not self.is_relative or 1 - _ROUNDING <= ratio <= self.max_ratio * (1 + _ROUNDING):
            return
        fault = "is coarser than the photograph itself" if ratio < 1 else "is finer than the weights can draw"
        raise GsdMismatchError(
            f"a pixel size of {output_gsd_m:.3g} m {fault}: for a photograph of {photo_gsd_m:.3g} m per pixel, "
            f"choose one of {photo_gsd_m / self.max_ratio:.3g} to {photo_gsd_m:.3g} m"
        )

    def scale_warnings(
        self, photo_gsd_m: float, output_gsd_m: float, resolved_gsd_m: float | None = None
    ) -> tuple[str, ...]:
        """Warnings where training did not see a photograph's scale; none is a reason to refuse it.

        Args:
            photo_gsd_m: pixel size of the photograph, in metres.
            output_gsd_m: the pixel size that it is restored at, in metres.
            resolved_gsd_m: metres on the ground that it resolves, its pixel size or more; by default its pixel size.
        """
        if not self.is_relative:
            return ()
        warnings = []
        low, high = self.source_gsd_range_m
        if high and not low * (1 - _ROUNDING) <= photo_gsd_m <= high * (1 + _ROUNDING):
            warnings.append(
                f"{self.name} was made for photographs of {low:.3g} to {high:.3g} m per pixel, and this one has "
                f"{photo_gsd_m:.3g} m: look at the result closely"
            )
        resolved_gsd_m = resolved_gsd_m or photo_gsd_m
        ratio, best_m = self.ratio_of(resolved_gsd_m, output_gsd_m), self.output_gsd_m(resolved_gsd_m)
        low, high = self.ratio_range
        if not low * (1 - _ROUNDING) <= ratio <= high * (1 + _ROUNDING):
            # No pixel larger than the photograph's own is ever advised.
            way_out = (
                f"choose a pixel size near {best_m:.3g} m"
                if best_m <= photo_gsd_m
                else "name what it resolves, if that is wrong"
            )
            warnings.append(
                f"the photograph resolves {resolved_gsd_m:.3g} m, {ratio:.3g} times the output's pixels, and "
                f"{self.name} was trained with {low:.3g} to {high:.3g} times: look at the result closely, or {way_out}"
            )
        return tuple(warnings)

    @property
    def export_warnings(self) -> tuple[str, ...]:
        """Warnings of weights as `orthosharp-train fit` leaves them, which lack what `export` measures and asks for."""
        if self.credit or self.training:
            return ()
        return (
            f"the weights of {self.name} were not exported: their halo of {self.halo_px} px was not measured, so seams "
            "may show, and the owners of the training pictures are not credited; run orthosharp-train export",
        )

    def to_json(self) -> str:
        """Canonical JSON: the same spec gives the same text.

        Optional fields that are empty are left out, so that the digests of older weights stay valid.
        """
        document = {item.name: getattr(self, item.name) for item in fields(self)} | {
            "config": dict(self.config)
        }
        for name in _OPTIONAL:
            chosen = dict(document.pop(name))
            if chosen:
                document[name] = chosen
        for name, empty in (_PAIR | _RELATIVE | _OWN_TEXTURE).items():
            if document[name] == empty:
                del document[name]
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a text that `to_json` wrote.

        Raises:
            WeightsError: the text is not a spec, or has fields of a newer version, which may decide pixels.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            unknown = document.keys() - {item.name for item in fields(cls)}
            if unknown:
                names = ", ".join(sorted(unknown))
                raise WeightsError(
                    f"the weights were made by a newer version, which knows {names}: update orthosharp"
                )
            return cls(**document)
        except (ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"the spec inside the weights cannot be read ({error}): export them again"
            ) from error
