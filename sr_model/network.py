"""The U-Nets. Only layers whose output does not depend on the extent of the window (see `sr_model.windows`).

Both members of the family are built alike: an encoder, a decoder that goes up by PixelShuffle (initialised by ICNR,
blurred after, so that it draws no checkerboard), a skip connection at every scale, the input joined again before
the head. Shapes in comments are [channels, height, width] for an input of [3, H, W].

Sources: Ronneberger et al. 2015 (U-Net); Shi et al. 2016 (PixelShuffle); Aitken et al. 2017 (ICNR); Sugawara et al.
2018 and Harada et al. 2018 (blur after the shuffle); Howard and Gugger 2018 (the whole, as fastai's lesson 7).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.errors import WeightsError
from sr_model.spec import ModelSpec

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
    """Replace every `ShuffleUp` inside a network, in place, by its faster equal; returns the network.

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
    """A `ShuffleUp` of kernel 1 as one transposed convolution: the same picture in a fifth of the time, for inference.

    A shuffled 1 x 1 convolution is a transposed one of 2 x 2 and stride 2; the blur makes that 3 x 3.
    """
    phases, biases = _phases(up)
    outputs, inputs = phases.shape[0], phases.shape[3]
    # A fourth tap, of zeros, above and to the left: padded by 1 there and below, the picture has the right size.
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    layer.weight.zero_()
    for a, b, down, right in itertools.product((0, 1), repeat=4):
        layer.weight[:, :, 1 + a + down, 1 + b + right] += phases[:, a, b, :, 0, 0].T / 4
    cast(Tensor, layer.bias).copy_(biases.mean((1, 2)))
    return layer


class FoldedShuffleUp(nn.Module):
    """A `ShuffleUp` as one convolution and a PixelShuffle: the same picture in less time, for inference.

    Each sub-pixel of the blurred picture is a mean over its own pixel and that above and to the left, so the kernel
    grows by one.
    """

    def __init__(self, up: ShuffleUp) -> None:
        super().__init__()
        phases, biases = _phases(up)
        outputs, inputs, kernel = phases.shape[0], *phases.shape[3:5]
        folded = torch.zeros(outputs, 2, 2, inputs, kernel + 1, kernel + 1)
        for a, b, up_by, left_by in itertools.product((0, 1), repeat=4):
            # Row 2i + a - up_by of the shuffled picture: its phase, and whether it is the pixel above.
            y, x = (a - up_by) % 2, (b - left_by) % 2
            top, left = int(a >= up_by), int(b >= left_by)
            folded[:, a, b, :, top : top + kernel, left : left + kernel] += phases[:, y, x] / 4
        self.convolution = nn.Conv2d(inputs, 4 * outputs, kernel + 1, padding=kernel // 2 + 1)
        with torch.no_grad():
            self.convolution.weight.copy_(folded.flatten(0, 2))
            # Every blurred pixel is a mean of all four phases.
            cast(Tensor, self.convolution.bias).copy_(biases.mean((1, 2)).repeat_interleave(4))

    def forward(self, x: Tensor) -> Tensor:
        """See `ShuffleUp.forward`."""
        # An even kernel, padded on all sides (runtimes are fast at that), makes one row and column too many.
        return F.pixel_shuffle(self.convolution(x)[..., :-1, :-1], 2)


def _phases(up: ShuffleUp) -> tuple[Tensor, Tensor]:
    """Kernels [outputs, 2, 2, inputs, k, k] and biases [outputs, 2, 2] of each sub-pixel."""
    weight, bias = up.expand.weight.detach(), cast(Tensor, up.expand.bias).detach()
    return weight.view(-1, 2, 2, *weight.shape[1:]), bias.view(-1, 2, 2)


class RestorationNetwork(nn.Module):
    """A network that changes a picture; what it adds can be had alone, and without the border that was only context."""

    stride: int

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """What is added to the picture.

        Args:
            x: normalised [B, planes, H, W].
            trim_px: how much of each side is left out of the result; a multiple of the stride. The values are those of
                the whole result: what none of them depends on is not computed.

        Returns:
            [B, 3, H - 2 trim_px, W - 2 trim_px], in units of the normalised picture.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """[B, planes, H, W] normalised, a fourth plane being grain, to [B, 3, H, W] normalised."""
        return x[:, :3] + self.correction(x)


def _inset(x: Tensor, cells: int) -> Tensor:
    """Without so many rows and columns on each side."""
    return x[..., cells:-cells, cells:-cells] if cells else x


def _join(below: Tensor, below_px: int, skip: Tensor, inset_px: int, scale: int) -> Tensor:
    """Two feature maps of the same scale, side by side, where they lie further than `inset_px` from the border.

    Args:
        below: from the coarser scale; it begins `below_px` from the border already.
        skip: from the encoder, whole.
        inset_px: a multiple of `scale`.
        scale: pixels per cell.
    """
    return torch.cat([_inset(below, (inset_px - below_px) // scale), _inset(skip, inset_px // scale)], 1)


class CompactUNet(RestorationNetwork):
    """The small member: a strided convolution folds 2 x 2 pixels into 16 channels; total stride 16.

    All widths are multiples of 16, the block of channels that vector units of CPUs take at once.
    """

    stride = 16

    def __init__(self, width: int, blocks: int, planes: int = 3) -> None:
        super().__init__()
        w4, w8, w16 = width, 2 * width, 8 * width // 3
        self.fold = nn.Conv2d(planes, 16, 4, stride=2, padding=1)
        self.stem = nn.Sequential(conv3(16, w4, 2), nn.ReLU(), ResidualBlock(w4))
        self.down8 = nn.Sequential(conv3(w4, w8, 2), nn.ReLU(), *(ResidualBlock(w8) for _ in range(blocks)))
        self.down16 = nn.Sequential(
            conv3(w8, w16, 2), nn.ReLU(), *(ResidualBlock(w16) for _ in range(blocks))
        )
        # Shuffled pictures cost memory traffic, not arithmetic: they are kept thin beside their skip.
        self.up8, self.join8 = ShuffleUp(w16, 48), conv3(48 + w8, w8)
        self.up4, self.join4 = ShuffleUp(w8, 32), conv3(32 + w4, w4)
        self.up2, self.join2 = ShuffleUp(w4, 16), conv3(32, 32)
        self.head = ShuffleUp(32, 3, kernel=3)
        with torch.no_grad():  # an untrained network returns nearly its input
            self.head.expand.weight.mul_(0.1)

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """See `RestorationNetwork.correction`."""
        f2 = self.fold(x)  # [16, H/2, W/2], linear: nothing of the input is lost
        f4 = self.stem(f2)  # [w, H/4, W/4]
        f8 = self.down8(f4)  # [2w, H/8, W/8]
        f16 = self.down16(f8)  # [8w/3, H/16, W/16]
        # What comes after the join of a scale sees less than four of its cells around a pixel.
        at8, at4, at2 = (max(0, trim_px - 4 * scale) for scale in (8, 4, 2))
        y = F.relu(self.join8(_join(self.up8(f16), 0, f8, at8, 8)))
        y = F.relu(self.join4(_join(self.up4(y), at8, f4, at4, 4)))
        y = F.relu(self.join2(_join(self.up2(y), at4, f2, at2, 2)))  # the input joined again
        return _inset(cast(Tensor, self.head(y)), trim_px - at2)


class UpBlock(nn.Module):
    """Decoder block of the ResNet-34 U-Net: up, join the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = ShuffleUp(inputs, inputs // 2)
        self.skip_norm = nn.BatchNorm2d(skip)
        self.first, self.second = conv3(inputs // 2 + skip, outputs), conv3(outputs, outputs)

    def forward(
        self, x: Tensor, skip: Tensor, below_px: int = 0, inset_px: int = 0, scale: int = 1
    ) -> Tensor:
        """[i, h, w] and [s, 2h, 2w] to [o, 2h, 2w], or less of it: see `_join`."""
        joined = F.relu(_join(self.up(x), below_px, self.skip_norm(skip), inset_px, scale))
        return F.relu(self.second(F.relu(self.first(joined))))


class ResNetUNet(RestorationNetwork):
    """The published network: torchvision's ResNet-34 as encoder, total stride 32, 40 M parameters at most."""

    stride = 32

    def __init__(self, planes: int = 3) -> None:
        # Imported late: torchvision costs every start seconds, and the bundled network does not need it.
        from torchvision.models import resnet34

        super().__init__()
        self.encoder = resnet34(weights=None)
        del self.encoder.fc, self.encoder.avgpool
        if planes > 3:
            self.encoder.conv1 = nn.Conv2d(planes, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.middle = nn.Sequential(conv3(512, 512), nn.ReLU(), conv3(512, 512), nn.ReLU())
        self.up16, self.up8 = UpBlock(512, 256, 256), UpBlock(256, 128, 128)
        self.up4, self.up2 = UpBlock(128, 64, 96), UpBlock(96, 64, 64)
        self.up1 = ShuffleUp(64, 32)
        self.cross = nn.Sequential(conv3(32 + planes, 32), nn.ReLU(), ResidualBlock(32))
        self.head = nn.Conv2d(32, 3, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def load_imagenet(self) -> None:
        """Fill the encoder with torchvision's ImageNet weights (downloaded once by torchvision).

        Grain, which ImageNet does not have, starts without influence.
        """
        from torchvision.models import ResNet34_Weights

        state = dict(ResNet34_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
        first = state["conv1.weight"]
        grain = self.encoder.conv1.in_channels - first.shape[1]
        state["conv1.weight"] = F.pad(first, (0, 0, 0, 0, 0, grain))
        self.encoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})

    def correction(self, x: Tensor, trim_px: int = 0) -> Tensor:
        """See `RestorationNetwork.correction`."""
        e = self.encoder
        f2 = e.relu(e.bn1(e.conv1(x)))  # [64, H/2, W/2]
        f4 = e.layer1(e.maxpool(f2))  # [64, H/4, W/4]
        f8 = e.layer2(f4)  # [128, H/8, W/8]
        f16 = e.layer3(f8)  # [256, H/16, W/16]
        f32 = e.layer4(f16)  # [512, H/32, W/32]
        # What comes after the join of a scale sees less than eight of its cells around a pixel.
        at8, at4, at2, at1 = (max(0, trim_px - 8 * scale) for scale in (8, 4, 2, 1))
        y = self.up8(self.up16(self.middle(f32), f16), f8, 0, at8, 8)
        y = self.up2(self.up4(y, f4, at8, at4, 4), f2, at4, at2, 2)
        y = self.cross(_join(self.up1(y), at2, x, at1, 1))  # the input joined again
        return _inset(cast(Tensor, self.head(y)), trim_px - at1)


def _compact(spec: ModelSpec) -> RestorationNetwork:
    width, blocks = spec.config.get("width", 48), spec.config.get("blocks", 2)
    return CompactUNet(cast(int, width), cast(int, blocks), spec.planes)


def _resnet34(spec: ModelSpec) -> RestorationNetwork:
    return ResNetUNet(spec.planes)


_BUILDERS: Final[dict[str, tuple[Callable[[ModelSpec], RestorationNetwork], int]]] = {
    "compact": (_compact, CompactUNet.stride),
    "resnet34": (_resnet34, ResNetUNet.stride),
}


def build(spec: ModelSpec) -> RestorationNetwork:
    """The network of a spec with fresh weights (seed with `torch.manual_seed`), in training mode.

    Raises:
        WeightsError: unknown architecture, or a stride that is not the architecture's.
    """
    if spec.architecture not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise WeightsError(f"unknown architecture {spec.architecture!r} (known: {known}): update orthosharp")
    builder, stride = _BUILDERS[spec.architecture]
    if spec.stride != stride:
        raise WeightsError(
            f"{spec.architecture} has stride {stride}, the spec says {spec.stride}: export again"
        )
    return builder(spec)
