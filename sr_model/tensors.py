"""uint8 pictures to the network's planes and back, as torch tensors on a GPU; `sr_model.pixels` is for arrays."""

from __future__ import annotations

import torch
from torch import Tensor

from sr_model.pixels import MIXING, NEIGHBOURS
from sr_model.spec import ModelSpec


def normalise(rgb: Tensor, spec: ModelSpec) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, spec.planes, H, W], see `sr_model.pixels.normalise`."""
    batch, height, width, bands = rgb.shape
    planes = torch.empty((batch, spec.planes, height, width), device=rgb.device)
    # Band by band: arithmetic along the last axis would go in loops of three.
    for band in range(bands):
        scale, offset = 1 / (255 * spec.std[band]), spec.mean[band] / spec.std[band]
        planes[:, band].copy_(rgb[..., band]).mul_(scale).sub_(offset)
    if spec.planes > bands:
        planes[:, bands] = grain_plane(rgb)
    return planes


def correct(rgb: Tensor, correction: Tensor, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """`sr_model.pixels.correct` as tensors; and whether all values were finite, as a tensor."""
    batch, bands, height, width = correction.shape
    top, left = (rgb.shape[1] - height) // 2, (rgb.shape[2] - width) // 2
    seen = rgb[:, top : top + height, left : left + width]
    corrected = torch.empty((batch, height, width, bands), dtype=torch.uint8, device=rgb.device)
    total = torch.zeros((), device=rgb.device)
    for band in range(bands):
        values = correction[:, band].float() * (255 * spec.std[band])
        # One sum tells whether any value is NaN or infinite, in a fraction of isfinite's time.
        total += values.sum()
        corrected[..., band] = values.add_(seen[..., band]).add_(0.5).clamp_(0, 255)
    return corrected, torch.isfinite(total)


def grain_plane(rgb: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, H, W]: the bits of `sr_model.pixels.grain_plane`, in signed integers."""
    above, left = (_signed(factor) for factor in NEIGHBOURS)
    words = rgb[..., 0].int()
    for band in (1, 2):
        words |= rgb[..., band].int() << 8 * band
    _mix(words)
    hashed = words + torch.roll(words, 2, 1) * above
    hashed ^= torch.roll(words, -1, 1)
    _mix(hashed)
    two_left, right = torch.roll(hashed, 2, 2), torch.roll(hashed, -1, 2)
    hashed += two_left.mul_(left)
    hashed ^= right
    _mix(hashed)
    hashed ^= -(1 << 31)
    return hashed.float().mul_(12**0.5 / 2**32)


def _mix(values: Tensor) -> None:
    """Every bit of the result depends on every bit. In place, and signed: no device lacks such integers."""
    for shift, factor in MIXING:
        # The sign would be shifted in.
        values ^= (values >> shift).bitwise_and_((1 << 32 - shift) - 1)
        if factor != 1:
            values *= _signed(factor)


def _signed(word: int) -> int:
    return word - (word >> 31 << 32)


def normalise_tensor(rgb01: Tensor, spec: ModelSpec) -> Tensor:
    """The three planes of `normalise` for a tensor [B, 3, H, W] in [0, 1]."""
    mean = torch.tensor(spec.mean, device=rgb01.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=rgb01.device).view(1, 3, 1, 1)
    return (rgb01 - mean) / std


def denormalise_tensor(planes: Tensor, spec: ModelSpec) -> Tensor:
    """Inverse of `normalise_tensor`; not clipped."""
    mean = torch.tensor(spec.mean, device=planes.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=planes.device).view(1, 3, 1, 1)
    return planes * std + mean
