"""Layers of the networks; the output of none depends on the extent of the window.

`sr_model.windows` says why. Sources: Shi et al. 2016 (PixelShuffle); Aitken et al. 2017 (ICNR); Sugawara et al. 2018
and Harada et al. 2018 (blur after the shuffle).
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.folding import shuffled_kernel, transposed_kernel
from sr_model.pixels import Float32Array

Network = TypeVar("Network", bound=nn.Module)


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3 x 3 convolution that keeps the size (or halves it), He-initialised."""
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity; no normalisation, so that training and serving compute the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv3(width, width), conv3(width, width)
        with torch.no_grad():  # starts near the identity (Zhang et al. 2019, Fixup)
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """[w, h, w] to the same."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class ShuffleUp(nn.Module):
    """Convolution, PixelShuffle x 2 and a 2 x 2 box blur: [i, h, w] to [o, 2h, 2w].

    The blur has a zero at a period of 2 px, where a shuffle's pattern would stand. No activation lies between
    the three linear steps, so a runtime may fold them (`fold_shuffles`).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, outputs * 4, kernel, padding=kernel // 2)
        weight = torch.empty(outputs, inputs, kernel, kernel)
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        with torch.no_grad():  # ICNR: the four sub-pixels start equal
            self.expand.weight.copy_(weight.repeat_interleave(4, dim=0))
        nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Zeros stand outside the window; the halo keeps them out of the picture."""
        shuffled = F.pixel_shuffle(self.expand(x), 2)
        return F.avg_pool2d(F.pad(shuffled, (1, 0, 1, 0)), 2, stride=1)


def fold_shuffles(network: Network) -> Network:
    """Replace every `ShuffleUp` inside a network, in place, by its faster equivalent; returns the network.

    At the window's first row and column the two differ, well inside the halo.
    """
    for name, child in network.named_children():
        if isinstance(child, ShuffleUp):
            pointwise = child.expand.kernel_size == (1, 1)
            setattr(network, name, transposed(child) if pointwise else FoldedShuffleUp(child))
        else:
            fold_shuffles(child)
    return network


@torch.no_grad()
def transposed(up: ShuffleUp) -> nn.ConvTranspose2d:
    """A `ShuffleUp` of kernel 1 as one transposed convolution: same picture, a fifth of the time, for inference.

    See `sr_model.folding.transposed_kernel`.
    """
    kernel, bias = (torch.from_numpy(array) for array in transposed_kernel(*_arrays(up.expand)))
    layer = nn.ConvTranspose2d(kernel.shape[0], kernel.shape[1], 4, stride=2, padding=1)
    layer.weight.copy_(kernel)
    cast(Tensor, layer.bias).copy_(bias)
    return layer


class FoldedShuffleUp(nn.Module):
    """A `ShuffleUp` as one convolution and a PixelShuffle: the same picture in less time, for inference.

    See `sr_model.folding.shuffled_kernel`.
    """

    def __init__(self, up: ShuffleUp) -> None:
        super().__init__()
        kernel, bias = (torch.from_numpy(array) for array in shuffled_kernel(*_arrays(up.expand)))
        outputs, inputs, size, _ = kernel.shape
        self.convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2)
        with torch.no_grad():
            self.convolution.weight.copy_(kernel)
            cast(Tensor, self.convolution.bias).copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """See `ShuffleUp.forward`."""
        # An even kernel, padded on all sides (runtimes are fast at that), makes one row and column too many.
        return F.pixel_shuffle(self.convolution(x)[..., :-1, :-1], 2)


def _arrays(layer: nn.Conv2d) -> tuple[Float32Array, Float32Array]:
    """Kernel and bias of a convolution, float32 on the CPU."""
    weight, bias = (
        value.detach().float().cpu().numpy() for value in (layer.weight, cast(Tensor, layer.bias))
    )
    return weight, bias


class RestorationNetwork(nn.Module):
    """A network that changes a picture.

    Its correction is also available alone, and without the border that served as context.
    """

    stride: int
    # Whether half precision is accurate enough on a GPU, and the library that has the layers, with its version, where
    # they are not ours.
    supports_half: bool = True
    library: str = ""

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """The change that is added to the picture.

        Args:
            x: normalised [B, planes, H, W].
            trim_px: width of the border that is left out of the result on each side; a multiple of the stride. The
                values are those of the whole result, and anything that none of them depends on is not computed.

        Returns:
            [B, 3, H - 2 trim_px, W - 2 trim_px], in units of the normalised picture.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """[B, planes, H, W] normalised, a fourth plane being grain, to [B, 3, H, W] normalised."""
        return x[:, :3] + self.correction(x)


def inset_cells(x: Tensor, cells: int) -> Tensor:
    """Without the given number of rows and columns on each side."""
    return x[..., cells:-cells, cells:-cells] if cells else x


def join_scales(below: Tensor, below_px: int, skip: Tensor, inset_px: int, scale: int) -> Tensor:
    """Two feature maps of the same scale, side by side, where they lie further than `inset_px` from the border.

    Args:
        below: from the coarser scale; it begins `below_px` from the border already.
        skip: from the encoder, whole.
        inset_px: a multiple of `scale`.
        scale: pixels per cell.
    """
    return torch.cat(
        [inset_cells(below, (inset_px - below_px) // scale), inset_cells(skip, inset_px // scale)], 1
    )
