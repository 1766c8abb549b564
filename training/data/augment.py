"""Augmentation of a batch on its device: old and new together, colours of the old side only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The part of a step's batch that a process sees; all draw for the whole batch, so that they draw alike.

    Attributes:
        rank: of the process, from 0.
        processes: that share the batch equally.
    """

    rank: int = 0
    processes: int = 1

    def of(self, whole: Tensor) -> Tensor:
        """Return this process's rows of what was drawn for the whole batch."""
        return whole.chunk(self.processes)[self.rank]


WHOLE: Final = Share()


def augment(
    old: Tensor,
    new: Tensor,
    out_px: int,
    scale_range: tuple[float, float],
    generator: torch.Generator,
    multiple_px: int = 1,
    share: Share = WHOLE,
) -> tuple[Tensor, Tensor]:
    """One of eight flips and turns and one scale for the batch, colour jitter per old crop.

    Args:
        old: uint8 [B, 3, H, H].
        new: the same ground, likewise.
        out_px: largest side of the result. It is smaller where H lacks the ground that the scale asks for: every
            pixel size of the range is seen, whatever the size of the chips.
        scale_range: pixel sizes of the result, in those of the input; sampled log-uniformly.
        generator: source of every draw, on the CPU.
        multiple_px: the result's side is a multiple of it.
        share: which part of the step's batch these are.

    Returns:
        Two float32 tensors [B, 3, side, side] in [0, 1].
    """
    low, high = scale_range
    draw = float(torch.rand((), generator=generator))
    scale = low * (high / low) ** draw
    # A millionth of a pixel more: a product that was rounded down must not cost a whole multiple.
    room_px = int(old.shape[-1] / scale + 1e-6)
    out_px = max(min(out_px, room_px) // multiple_px, 1) * multiple_px
    side = min(round(out_px * scale), old.shape[-1])
    old, new = (_resize(_crop(x, side).float().div_(255), out_px) for x in (old, new))
    turn = int(torch.randint(8, (), generator=generator))
    old, new = (_turn(x, turn) for x in (old, new))
    return _colour_jitter(old, generator, share), new


def _crop(x: Tensor, side: int) -> Tensor:
    start = (x.shape[-1] - side) // 2
    return x[..., start : start + side, start : start + side]


def _resize(x: Tensor, out_px: int) -> Tensor:
    if x.shape[-1] == out_px:
        return x
    shrinks = x.shape[-1] > out_px
    resized = F.interpolate(x, size=(out_px, out_px), mode="bicubic", antialias=shrinks, align_corners=False)
    return resized.clamp_(0, 1)


def _turn(x: Tensor, turn: int) -> Tensor:
    if turn & 4:
        x = x.flip(-1)
    return torch.rot90(x, turn & 3, (-2, -1)).contiguous()


def _colour_jitter(old: Tensor, generator: torch.Generator, share: Share) -> Tensor:
    """Draw a small gain and offset per band and crop; small, because the old photo's cast has to be learnt."""
    shape = (len(old) * share.processes, 3, 1, 1)
    gain = 1 + 0.05 * share.of(torch.randn(shape, generator=generator)).to(old.device)
    offset = 0.02 * share.of(torch.randn(shape, generator=generator)).to(old.device)
    return (old * gain + offset).clamp_(0, 1)


def draw_grain(old: Tensor, planes: int, generator: torch.Generator, share: Share = WHOLE) -> Tensor:
    """Noise distributed as `sr_model.pixels.grain_plane` draws it from a photo: float32 [B, planes, H, W].

    Args:
        old: [B, 3, H, W].
        planes: number of planes.
        generator: source of every draw, on the CPU.
        share: which part of the step's batch these are.
    """
    # Drawn where it is used: on a GPU, a step would wait for a plane per crop from the processor.
    seed = int(torch.randint(1 << 62, (), generator=generator))
    there = torch.Generator(old.device).manual_seed(seed)
    shape = (len(old) * share.processes, planes, *old.shape[-2:])
    return (share.of(torch.rand(shape, generator=there, device=old.device)) - 0.5) * 12**0.5
