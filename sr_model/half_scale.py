"""A small residual U-Net whose finest layers work at half the resolution of the picture, so at about the photo's own.

Edges are drawn where most of the arithmetic goes: residual blocks at 1/2 of the output's resolution, with context from
1/4 and 1/8. Sources: Ronneberger et al. 2015 (U-Net); Lim et al. 2017 (residual blocks without normalisation); Shi et
al. 2016 (PixelShuffle); Aitken et al. 2017 (ICNR).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.architectures import STRIDES, half_scale_insets
from sr_model.network_layers import RestorationNetwork, conv3, inset_cells


class LinearResidualBlock(nn.Module):
    """Two convolutions beside an identity; unlike `ResidualBlock` without an activation after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv3(width, width), conv3(width, width)
        with torch.no_grad():  # starts near the identity (Zhang et al. 2019, Fixup)
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """[w, h, w] to the same."""
        changed: Tensor = x + self.second(F.relu(self.first(x)))
        return changed


class ShuffleSum(nn.Module):
    """1 x 1 convolution and PixelShuffle x 2, [i, h, w] to [o, 2h, 2w], to be added to a skip connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, 4 * outputs, 1)
        start_equal(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.pixel_shuffle(self.expand(x), 2)


@torch.no_grad()
def start_equal(expand: nn.Conv2d) -> None:
    """ICNR: the four sub-pixels of a shuffle start equal, so that a fresh network draws no checkerboard."""
    first = torch.empty_like(expand.weight[::4])
    nn.init.kaiming_normal_(first, nonlinearity="relu")
    expand.weight.copy_(first.repeat_interleave(4, dim=0))
    if expand.bias is not None:
        expand.bias.zero_()


def residual_blocks(count: int, width: int) -> nn.Sequential:
    """The given number of blocks, one after the other."""
    return nn.Sequential(*(LinearResidualBlock(width) for _ in range(count)))


class HalfScaleUNet(RestorationNetwork):
    """Residual blocks at 1/2, 1/4 and 1/8 of the output's resolution; total stride 8.

    Args:
        widths: channels at 1/2, 1/4 and 1/8; multiples of 16 are fastest on CPUs.
        blocks: residual blocks of the encoder at 1/2, 1/4 and 1/8.
        decoder_blocks: residual blocks of the decoder at 1/2 and 1/4.
        planes: of the input.
    """

    stride = STRIDES["half_scale"]

    def __init__(
        self,
        widths: Sequence[int] = (32, 48, 64),
        blocks: Sequence[int] = (1, 1, 2),
        decoder_blocks: Sequence[int] = (1, 1),
        planes: int = 3,
    ) -> None:
        super().__init__()
        w2, w4, w8 = widths
        self.fold = nn.Conv2d(planes, w2, 4, stride=2, padding=1)
        self.encode2 = residual_blocks(blocks[0], w2)
        self.down4, self.encode4 = conv3(w2, w4, 2), residual_blocks(blocks[1], w4)
        self.down8, self.encode8 = conv3(w4, w8, 2), residual_blocks(blocks[2], w8)
        self.up4, self.decode4 = ShuffleSum(w8, w4), residual_blocks(decoder_blocks[1], w4)
        self.up2, self.decode2 = ShuffleSum(w4, w2), residual_blocks(decoder_blocks[0], w2)
        self.head = conv3(w2, 12)
        start_equal(self.head)
        with torch.no_grad():  # an untrained network returns nearly its input
            self.head.weight.mul_(0.1)

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """See `RestorationNetwork.correction`."""
        f2 = self.encode2(F.relu(self.fold(x)))  # [w2, H/2, W/2]
        f4 = self.encode4(F.relu(self.down4(f2)))  # [w4, H/4, W/4]
        f8 = self.encode8(F.relu(self.down8(f4)))  # [w8, H/8, W/8]
        at4, at2 = half_scale_insets(trim_px, (len(self.decode2), len(self.decode4)))
        at8 = at4 // 8 * 8
        y = inset_cells(self.up4(inset_cells(f8, at8 // 8)), (at4 - at8) // 4)
        y = self.decode4(y + inset_cells(f4, at4 // 4))
        y = inset_cells(self.up2(y), (at2 - at4) // 2)
        y = self.decode2(y + inset_cells(f2, at2 // 2))
        return inset_cells(F.pixel_shuffle(self.head(y), 2), trim_px - at2)
