"""Single-image super-resolution models that others trained, as networks on the output's grid.

Such a model takes a photograph at its own pixels and makes it 2 or 4 times larger. A window comes on the output's grid,
to which the photograph was enlarged: it is first reduced to the photograph's own pixels (Lanczos, three lobes), then
enlarged by the model and, where the model enlarges more than the ratio, averaged down to the window's grid. Every step
is symmetric about the centre of a pixel, so nothing moves.

The library spandrel recognises the architecture by its tensors alone; it is imported when such weights are opened.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.errors import RuntimeUnavailableError, WeightsError
from sr_model.network_layers import RestorationNetwork, inset_cells
from sr_model.spec import ModelSpec

# Lobes of the reduction's kernel on each side.
REDUCTION_LOBES: Final = 3


def read_model(state: Mapping[str, Tensor]) -> Any:
    """Recognise a model by its tensors.

    Args:
        state: the model's tensors, with the names of its authors.

    Returns:
        A `spandrel.ImageModelDescriptor`: float [1, 3, h, w] of 0 to 1 in, [1, 3, scale h, scale w] out.

    Raises:
        RuntimeUnavailableError: spandrel is not installed.
        WeightsError: it is of no known architecture, damaged, or is not a model that turns RGB into larger RGB.
    """
    spandrel = _spandrel()
    try:
        with warnings.catch_warnings():
            # How the library makes its layers is its own affair.
            warnings.simplefilter("ignore")
            model = spandrel.ModelLoader().load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError as error:
        raise WeightsError(
            f"its architecture is not one that spandrel {spandrel.__version__} knows: use a model of a known one, "
            "such as ESRGAN, Compact, SwinIR, HAT or DAT"
        ) from error
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AssertionError) as error:
        raise WeightsError(
            f"its tensors do not fit together ({type(error).__name__}): fetch the model again"
        ) from error
    _check_kind(model, spandrel)
    return model.eval()


def unwrapped(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a model from what its file held: out of the usual envelopes, without the usual prefixes.

    Raises:
        RuntimeUnavailableError: spandrel is not installed.
    """
    state = _spandrel().canonicalize_state_dict(dict(document))
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _spandrel() -> Any:
    try:
        import spandrel
    except ImportError as error:
        raise RuntimeUnavailableError(
            "imported super-resolution models need the library spandrel: install it with "
            "pip install 'orthosharp[training]', or with pip install spandrel"
        ) from error
    return spandrel


def _check_kind(model: Any, spandrel: Any) -> None:
    """Raise WeightsError unless the model makes a larger RGB picture of an RGB picture and of nothing else."""
    name = model.architecture.name
    if not isinstance(model, spandrel.ImageModelDescriptor):
        raise WeightsError(f"{name} takes a mask beside the picture: use a super-resolution model")
    if (model.input_channels, model.output_channels) != (3, 3):
        raise WeightsError(
            f"this {name} takes {model.input_channels} and returns {model.output_channels} channels, not the three of "
            "RGB: use a model for colour pictures"
        )
    if model.purpose != "SR":
        aims = {"FaceSR": "restores faces", "Restoration": "does not enlarge pictures"}
        aim = aims.get(model.purpose, f"is made for {model.purpose}")
        raise WeightsError(f"this {name} {aim}: use a super-resolution model")
    if model.tiling is spandrel.ModelTiling.INTERNAL:
        raise WeightsError(f"{name} looks at the whole picture at once: windows of it would not join")


def single_image(spec: ModelSpec, state: Mapping[str, Tensor]) -> SingleImageNetwork:
    """The network of imported weights, in eval mode.

    Raises:
        RuntimeUnavailableError, WeightsError: see `read_model`; or the tensors are not those that the spec describes.
    """
    model = read_model(state)
    if model.scale != spec.config.get("scale"):
        raise WeightsError(
            f"the spec says that the model enlarges {spec.config.get('scale')} times, and it enlarges {model.scale} "
            "times: import it again"
        )
    return SingleImageNetwork(model, spec).eval()


class SingleImageNetwork(RestorationNetwork):
    """A super-resolution model between a reduction to the photograph's pixels and the output's grid.

    However large a window is, the model sees parts of it of bounded size, so that memory is bounded too. Sizes in the
    spec's `config` are in pixels of the photograph:

    * `scale`: the factor by which the model enlarges;
    * `part_px`: largest side of what one part yields;
    * `context_px`: what a part sees beyond that on each side;
    * `step_px`: parts begin at multiples of it, since attention in windows is not the same at every place.

    Args:
        model: see `read_model`.
        spec: of the weights; the ratio is a whole number.
    """

    def __init__(self, model: Any, spec: ModelSpec) -> None:
        super().__init__()
        config = {name: cast(int, value) for name, value in spec.config.items()}
        self.stride = spec.stride
        self._descriptor = model
        self.model: nn.Module = model.model
        self._ratio = round(spec.ratio)
        self._part_px, self._context_px = config["part_px"], config["context_px"]
        self._step_px = config["step_px"]
        self.supports_half = bool(model.supports_half)
        self.library = f"spandrel {version('spandrel')}"
        kernel = reduction_kernel(self._ratio)
        self._down: Tensor
        self._across: Tensor
        self.register_buffer("_down", kernel.view(1, 1, -1, 1).repeat(3, 1, 1, 1), persistent=False)
        self.register_buffer("_across", kernel.view(1, 1, 1, -1).repeat(3, 1, 1, 1), persistent=False)

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """See `RestorationNetwork.correction`."""
        return self.enlarge(self._reduced(x[:, :3]), trim_px) - inset_cells(x[:, :3], trim_px)

    def enlarge(self, photo: Tensor, trim_px: int = 0) -> Tensor:
        """The model's answer to a photograph at its own pixels.

        Args:
            photo: float [B, 3, h, w] of 0 to 1.
            trim_px: see `RestorationNetwork.correction`.

        Returns:
            [B, 3, ratio h - 2 trim_px, ratio w - 2 trim_px], from 0 to 1.
        """
        height, width = (side * self._ratio - 2 * trim_px for side in photo.shape[-2:])
        made = photo.new_empty(len(photo), 3, height, width)
        for window, drawn in zip(photo, made, strict=True):
            for rows, columns in self._parts(photo.shape[-2:], trim_px // self._ratio):
                part = self._enlarged(window[None], rows, columns)
                at_y, at_x = (self._output(span, trim_px) for span in (rows, columns))
                drawn[:, at_y, at_x] = part[0]
        return made

    def _reduced(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to the photograph's own pixels, [B, 3, H / ratio, W / ratio], from 0 to 1."""
        stride, pad = self._ratio, (len(self._down[0, 0]) - self._ratio) // 2
        around = F.pad(x, (pad,) * 4, mode="replicate")
        rows = F.conv2d(around, self._down, stride=(stride, 1), groups=3)
        return F.conv2d(rows, self._across, stride=(1, stride), groups=3).clamp_(0, 1)

    def _parts(self, size: tuple[int, ...], trim: int) -> Iterator[tuple[slice, slice]]:
        """What the parts yield, of the photograph's pixels without `trim` of them on each side."""
        for rows in self._spans(trim, size[0] - trim):
            for columns in self._spans(trim, size[1] - trim):
                yield rows, columns

    def _spans(self, start: int, stop: int) -> Iterator[slice]:
        """Nearly equal lengths, multiples of `step_px` but for the last."""
        count = math.ceil((stop - start) / self._part_px)
        length = math.ceil((stop - start) / count / self._step_px) * self._step_px
        for first in range(start, stop, length):
            yield slice(first, min(first + length, stop))

    def _enlarged(self, photo: Tensor, rows: slice, columns: slice) -> Tensor:
        """A part on the output's grid, made with its context."""
        height, width = photo.shape[-2:]
        top, left = (max(0, span.start - self._context_px) for span in (rows, columns))
        bottom = min(height, rows.stop + self._context_px)
        right = min(width, columns.stop + self._context_px)
        scale = self._descriptor.scale
        larger = self._descriptor(photo[..., top:bottom, left:right].contiguous())
        inner = larger[
            ...,
            (rows.start - top) * scale : (rows.stop - top) * scale,
            (columns.start - left) * scale : (columns.stop - left) * scale,
        ]
        return F.avg_pool2d(inner, scale // self._ratio) if scale > self._ratio else inner

    def _output(self, span: slice, trim_px: int) -> slice:
        """A span of the photograph's pixels on the output's grid, without its trim."""
        return slice(span.start * self._ratio - trim_px, span.stop * self._ratio - trim_px)


def reduction_kernel(ratio: int) -> Tensor:
    """Weights of Lanczos' kernel that reduce by a whole number, float32 [6 ratio] of unit sum.

    It is symmetric about the centre of the reduced pixel. At three quarters of the highest frequency that the reduced
    pixels can hold it loses an eighth, where means over blocks would lose more than a fifth (Duchon 1979).
    """
    places = (torch.arange(2 * REDUCTION_LOBES * ratio) - (2 * REDUCTION_LOBES * ratio - 1) / 2) / ratio
    weights = torch.special.sinc(places) * torch.special.sinc(places / REDUCTION_LOBES)
    kernel: Tensor = (weights / weights.sum()).float()
    return kernel
