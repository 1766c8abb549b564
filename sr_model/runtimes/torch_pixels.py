"""`sr_model.pixels` on the device: what crosses the bus is bytes, and no core of the CPU prepares pixels."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sr_model.pixels import MIXING, NEIGHBOURS
from sr_model.spec import ModelSpec

_32_BITS: Final = 0xFFFFFFFF


def normalise(rgb: Tensor, spec: ModelSpec) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, spec.planes, H, W], channels last in memory; see `pixels.normalise`."""
    std = torch.tensor(spec.std, device=rgb.device)
    mean = torch.tensor(spec.mean, device=rgb.device)
    planes = [rgb.float() * (1 / (255 * std)) - mean / std]
    if spec.planes > 3:
        planes.append(grain_plane(rgb)[..., None])
    return torch.cat(planes, 3).permute(0, 3, 1, 2)


def denormalise(planes: Tensor, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """[B, 3, H, W] to uint8 [B, H, W, 3], and whether all values were finite, as a tensor of one bool."""
    std = torch.tensor(spec.std, device=planes.device)
    mean = torch.tensor(spec.mean, device=planes.device)
    scaled = planes.float().permute(0, 2, 3, 1) * (255 * std) + (255 * mean + 0.5)
    finite = torch.isfinite(scaled.sum())
    return scaled.clamp(0, 255).to(torch.uint8).contiguous(), finite


def grain_plane(rgb: Tensor) -> Tensor:
    """`pixels.grain_plane` to the last bit: uint8 [B, H, W, 3] to float32 [B, H, W].

    In 64 bits, of which only the lower 32 count: torch has no arithmetic of unsigned 32 bits on every device.
    """
    wide = rgb.long()
    hashed = _mixed(wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16)
    for axis, factor in NEIGHBOURS:
        before, after = torch.roll(hashed, 2, axis), torch.roll(hashed, -1, axis)
        hashed = _mixed(((hashed + before * factor) & _32_BITS) ^ after)
    return hashed.float() * float(12**0.5 / 2**32) - float(3**0.5)


def _mixed(values: Tensor) -> Tensor:
    for shift, factor in MIXING:
        values = ((values ^ (values >> shift)) * factor) & _32_BITS
    return values
