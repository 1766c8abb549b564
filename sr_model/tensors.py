"""uint8 pictures to the network's planes and back, as torch tensors on any device; `sr_model.pixels` is for arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from sr_model.spec import ModelSpec

# Of the grain: shifts and factors of the mixing (Chris Wellons's lowbias32), factors of the neighbours above and left.
_MIXING: Final = ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, 1))
_NEIGHBOURS: Final = (0x9E3779B1, 0x85EBCA77)
_STRIP_PX: Final = 160


def normalise(rgb: Tensor, spec: ModelSpec) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, spec.planes, H, W] with the spec's mean and deviation.

    A fourth plane is grain, see `grain_plane`.
    """
    batch, height, width, bands = rgb.shape
    planes = torch.empty((batch, spec.planes, height, width), device=rgb.device)
    for rows in _strips(height, rgb.device):
        # Band by band: arithmetic along the last axis would go in loops of three.
        for band in range(bands):
            scale, offset = 1 / (255 * spec.std[band]), spec.mean[band] / spec.std[band]
            planes[:, band, rows].copy_(rgb[:, rows, :, band]).mul_(scale).sub_(offset)
    if spec.planes > bands:
        planes[:, bands] = grain_plane(rgb)
    return planes


def denormalise(planes: Tensor, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """[B, 3, H, W] back to uint8 [B, H, W, 3], rounded and clipped; and whether all values were finite, as a tensor."""
    batch, bands, height, width = planes.shape
    rgb = torch.empty((batch, height, width, bands), dtype=torch.uint8, device=planes.device)
    total = torch.zeros((), device=planes.device)
    for rows in _strips(height, planes.device):
        for band in range(bands):
            scaled = planes[:, band, rows].float() * (255 * spec.std[band])
            # One sum tells whether any value is NaN or infinite, in a fraction of isfinite's time.
            total += scaled.sum()
            rgb[:, rows, :, band] = scaled.add_(255 * spec.mean[band] + 0.5).clamp_(0, 255)
    return rgb, torch.isfinite(total)


def grain_plane(rgb: Tensor) -> Tensor:
    """White noise of mean 0 and deviation 1 that is a function of the pixels around each place alone.

    A very soft photo holds nothing that fine texture could be made from, and a network without noise can only draw its
    own grid there (Karras et al. 2019, section 3.2). Drawn from the pixels, the noise lies on the ground: every
    window, process and machine finds the same, to the last bit.

    Args:
        rgb: uint8 [B, H, W, 3].

    Returns:
        float32 [B, H, W], uniform; the two outermost pixels of a window see less than their neighbourhood.
    """
    batch, height, width, _ = rgb.shape
    grain = torch.empty((batch, height, width), device=rgb.device)
    padded = torch.cat([rgb[:, -2:], rgb, rgb[:, :1]], 1)
    above, left = (_signed(factor) for factor in _NEIGHBOURS)
    for rows in _strips(height, rgb.device):
        part = padded[:, rows.start : rows.stop + 3]
        around = part[..., 0].int()
        for band in (1, 2):
            around |= part[..., band].int() << 8 * band
        _mix(around)
        # A flat patch of an old JPEG has one colour: what lies two pixels away makes its pixels differ.
        hashed = around[:, 2:-1] + around[:, :-3] * above
        hashed ^= around[:, 3:]
        _mix(hashed)
        two_left, right = torch.roll(hashed, 2, 2), torch.roll(hashed, -1, 2)
        hashed += two_left.mul_(left)
        hashed ^= right
        _mix(hashed)
        # From 0 to 2^32 to as far on both sides of 0.
        hashed ^= -(1 << 31)
        grain[:, rows] = hashed
    return grain.mul_(12**0.5 / 2**32)


def _strips(height: int, device: torch.device) -> Iterator[slice]:
    """Rows to work on at once: on a CPU, few enough that they stay in its cache, which is three times as fast."""
    step = _STRIP_PX if device.type == "cpu" else height
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _mix(values: Tensor) -> None:
    """Every bit of the result depends on every bit. In place, and signed: no device lacks such integers."""
    for shift, factor in _MIXING:
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
