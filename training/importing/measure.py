"""What the server has to know of a super-resolution model, measured by running it.

How far it looks, at which places it may be cut into parts, how much memory a part takes, and whether it moves the
ground. Pixels are those of the photograph, the model's input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from training.errors import ImportRefusedError
from training.importing.memory import bytes_per_px

Model = Callable[[Tensor], Tensor]

# Distances from a pixel beyond which nothing may count, and steps at which windows may begin.
_CONTEXTS: Final = (4, 8, 12, 16, 20, 24, 32, 40, 48)
_STEPS: Final = (1, 2, 4, 8, 16, 32)
# Mean differences, in shares of the range from black to white: a quarter of a grey level along a border, as `export`
# allows it, and what rounding may make of the same picture at another place.
_UNSEEN: Final = 0.25 / 255
_SAME: Final = 0.05 / 255
# What is looked at, and how much lies around it: little first, since most models look no further and large ones take
# a minute for the rest. Of what lies around, a quarter at least has to be beyond the context.
_CORE_PX: Final = 32
_FAR_PX: Final = (32, 64)
_BEYOND: Final = 0.25
# Side of the pictures on which memory and shift are measured.
_SAMPLE_PX: Final = 64
# Memory for the pictures of one part, and sides of parts, in the photograph's pixels.
BUDGET_BYTES: Final = 1 << 30
_MOST_PX: Final = 512
_LEAST_PX: Final = 16


@dataclass(frozen=True)
class Measured:
    """A model as the server has to treat it; sizes in pixels of the photograph.

    Attributes:
        step_px: parts begin at multiples of it.
        context_px: what a part has to see around what it yields.
        part_px: largest side of what a part yields.
        part_bytes: memory that such a part takes, about.
        shift_px: how far the model moves the ground, to the right and down.
    """

    step_px: int
    context_px: int
    part_px: int
    part_bytes: int
    shift_px: tuple[float, float]


@torch.inference_mode()
def measure(model: Model, scale: int, device: torch.device | None = None) -> Measured:
    """Run a model on pictures of a seed, and see.

    Args:
        model: float [1, 3, h, w] of 0 to 1 in, [1, 3, scale h, scale w] out.
        scale: the factor by which it enlarges.
        device: that the model is on; the processor if not given.

    Raises:
        ImportRefusedError: it looks too far, needs too much memory, or returns values that are not finite.
    """
    picture = made_ground(_CORE_PX + 2 * max(_FAR_PX) + max(_STEPS)).to(device or torch.device("cpu"))
    sample = picture[..., :_SAMPLE_PX, :_SAMPLE_PX].contiguous()
    if not bool(torch.isfinite(model(sample)).all()):
        raise ImportRefusedError("the model returns values that are not finite: fetch it again, or another")
    step, context = _reach(model, scale, picture)
    each = bytes_per_px(model, sample)
    part = _part_px(each, step, context)
    seen = part + 2 * context
    return Measured(step, context, part, round(each * seen**2), shift_px(model, scale, picture))


def made_ground(side: int, *, seed: int = 1) -> Tensor:
    """Roofs, roads and grain, a picture on every machine alike: float [1, 3, side, side] of 0 to 1."""
    random = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 0.45)
    for _ in range(side * side // 250):
        y, x, height, width = (*random.integers(0, side, 2), *random.integers(2, 28, 2))
        picture[y : y + height, x : x + width] = random.uniform(0.15, 0.85) + random.normal(0, 0.05, 3)
    picture = gaussian_filter(picture, (0.6, 0.6, 0)) + random.normal(0, 0.03, (side, side, 1))
    return torch.from_numpy(np.clip(picture, 0, 1).astype(np.float32)).permute(2, 0, 1)[None]


def _reach(model: Model, scale: int, picture: Tensor) -> tuple[int, int]:
    """The step and the context of a model."""
    for far in _FAR_PX:
        side = _CORE_PX + 2 * far
        whole = model(picture[..., :side, :side].contiguous())
        step = _step_px(model, scale, picture, whole, far)
        context = _context_px(model, scale, step, picture[..., :side, :side], whole, far) if step else None
        if step and context:
            return step, context
    raise ImportRefusedError(
        f"the model looks further than {_CONTEXTS[-1]} of the photograph's pixels around each, or in squares of more "
        f"than {_STEPS[-1]}: windows of it would not join; use a model that works on tiles"
    )


def _step_px(model: Model, scale: int, picture: Tensor, whole: Tensor, far: int) -> int | None:
    """The smallest shift of a window that leaves the picture of the same ground as it was."""
    side = _CORE_PX + 2 * far
    for step in _STEPS:
        moved = model(picture[..., step : step + side, step : step + side].contiguous())
        first, stop = far + step // 2, far + _CORE_PX
        difference = _span(whole, scale, first, stop) - _span(moved, scale, first - step, stop - step)
        if float(difference.abs().mean()) <= _SAME:
            return step
    return None


def _span(picture: Tensor, scale: int, first: int, stop: int) -> Tensor:
    return picture[..., first * scale : stop * scale, first * scale : stop * scale]


def _context_px(model: Model, scale: int, step: int, picture: Tensor, whole: Tensor, far: int) -> int | None:
    """The smallest distance beyond which pixels change nothing that is seen.

    They are cut off first, as parts and windows are; then inverted, which changes them more than any ground could.
    """
    core = _span(whole, scale, far, far + _CORE_PX)
    contexts = dict.fromkeys(math.ceil(distance / step) * step for distance in _CONTEXTS)
    for context in (some for some in contexts if some <= (1 - _BEYOND) * far):
        first, stop = far - context, far + _CORE_PX + context
        cut = model(picture[..., first:stop, first:stop].contiguous())
        if _border(core - _span(cut, scale, context, context + _CORE_PX)) > _UNSEEN:
            continue
        inverted = 1 - picture
        inverted[..., first:stop, first:stop] = picture[..., first:stop, first:stop]
        if _border(core - _span(model(inverted), scale, far, far + _CORE_PX)) <= _UNSEEN:
            return context
    return None


def _border(difference: Tensor) -> float:
    """Mean over the outermost pixels, where two windows would meet."""
    sides = difference[..., 0, :], difference[..., -1, :], difference[..., 0], difference[..., -1]
    return float(torch.stack(sides).abs().mean())


def _part_px(each: float, step: int, context: int) -> int:
    """The largest part whose pictures fit into the budget, where a pixel takes `each` bytes."""
    side = int(math.sqrt(BUDGET_BYTES / each))
    part = min(_MOST_PX, side - 2 * context) // step * step
    if part < max(_LEAST_PX, step):
        needed = each * (max(_LEAST_PX, step) + 2 * context) ** 2
        raise ImportRefusedError(
            f"the model needs {needed / 2**30:.1f} GiB for its smallest part, and a part may take "
            f"{BUDGET_BYTES / 2**30:.0f} GiB: use a smaller model"
        )
    return part


def shift_px(model: Model, scale: int, picture: Tensor) -> tuple[float, float]:
    """How far a model moves soft ground, to the right and down, in pixels of the photograph.

    The difference from bicubic enlargement is explained by its gradients, by least squares (Lucas and Kanade 1981).
    """
    sample = picture[..., :_SAMPLE_PX, :_SAMPLE_PX]
    soft = F.avg_pool2d(F.avg_pool2d(sample, 5, 1), 3, 1)
    expected = F.interpolate(soft, scale_factor=scale, mode="bicubic", align_corners=False)
    inner = slice(8 * scale, -8 * scale)
    change = (model(soft) - expected)[..., inner, inner]
    # Broader than a pixel, so that a model's sharpening of edges is no gradient.
    down, right = (
        (expected.roll(-scale, axis) - expected.roll(scale, axis))[..., inner, inner] / (2 * scale)
        for axis in (-2, -1)
    )
    terms = torch.stack([right.flatten(), down.flatten()]).double()
    moved = -torch.linalg.solve(terms @ terms.T, terms @ change.flatten().double()) / scale
    return float(moved[0]), float(moved[1])
