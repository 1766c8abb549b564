"""A small network that tells answers of a teacher from those of a network that learns from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, 1)
    return nn.utils.parametrizations.spectral_norm(layer)


class TextureDiscriminator(nn.Module):
    """Luminance of a picture beside that of the old photograph to one logit per 8 x 8 pixels.

    Spectral normalisation (Miyato et al. 2018) keeps it from running away from the small network.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 2
        for outputs in (width, 2 * width, 3 * width):
            layers += [_convolution(inputs, outputs, 4, 2), nn.LeakyReLU(0.2)]
            layers += [_convolution(outputs, outputs), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 3, 1, 1))

    def forward(self, luma: Tensor, old_luma: Tensor) -> Tensor:
        """[B, 1, H, W] of 0 to 1, twice, to [B, 1, H / 8, W / 8]."""
        logits: Tensor = self.layers((torch.cat([luma, old_luma], 1) - 0.45) / 0.25)
        return logits


def counted(logits: Tensor, woods: Tensor, *, real: bool) -> Tensor:
    """Non-saturating loss (Goodfellow et al. 2014) where there are no woods: there a discriminator only paints.

    Args:
        logits: [B, 1, h, w].
        woods: [B, 1, 8 h, 8 w], 1 where texture has no direction.
        real: whether the logits are wanted to say so.
    """
    outside = 1 - F.avg_pool2d(woods, woods.shape[-1] // logits.shape[-1])
    each = F.softplus(-logits if real else logits)
    return (outside * each).sum() / outside.sum().clamp_min(1e-3)
