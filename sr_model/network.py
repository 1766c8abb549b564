"""The networks that a spec may name: two U-Nets here, and the one of `sr_model.half_scale`.

The two are built alike: an encoder, a decoder that goes up by PixelShuffle (initialised by ICNR,
blurred after, so that it draws no checkerboard), a skip connection at every scale, the input joined again before
the head. Shapes in comments are [channels, height, width] for an input of [3, H, W].

Sources: Ronneberger et al. 2015 (U-Net); Howard and Gugger 2018 (the whole, as fastai's lesson 7);
`sr_model.network_layers` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.architectures import (
    STRIDES,
    check_architecture,
    compact_insets,
    compact_sizes,
    half_scale_sizes,
    resnet34_insets,
)
from sr_model.errors import WeightsError
from sr_model.half_scale import HalfScaleUNet
from sr_model.network_layers import (
    ResidualBlock,
    RestorationNetwork,
    ShuffleUp,
    conv3,
    inset_cells,
    join_scales,
)
from sr_model.spec import SINGLE_IMAGE, ModelSpec


class CompactUNet(RestorationNetwork):
    """The small member: a strided convolution folds 2 x 2 pixels into 16 channels; total stride 16.

    All widths are multiples of 16, the block of channels that vector units of CPUs take at once.
    """

    stride = STRIDES["compact"]

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
        at8, at4, at2 = compact_insets(trim_px)
        y = F.relu(self.join8(join_scales(self.up8(f16), 0, f8, at8, 8)))
        y = F.relu(self.join4(join_scales(self.up4(y), at8, f4, at4, 4)))
        y = F.relu(self.join2(join_scales(self.up2(y), at4, f2, at2, 2)))  # the input joined again
        return inset_cells(cast(Tensor, self.head(y)), trim_px - at2)


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
        """[i, h, w] and [s, 2h, 2w] to [o, 2h, 2w], or less of it: see `join_scales`."""
        joined = F.relu(join_scales(self.up(x), below_px, self.skip_norm(skip), inset_px, scale))
        return F.relu(self.second(F.relu(self.first(joined))))


class ResNetUNet(RestorationNetwork):
    """The published network: torchvision's ResNet-34 as encoder, total stride 32, 40 M parameters at most."""

    stride = STRIDES["resnet34"]

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
        at8, at4, at2, at1 = resnet34_insets(trim_px)
        y = self.up8(self.up16(self.middle(f32), f16), f8, 0, at8, 8)
        y = self.up2(self.up4(y, f4, at8, at4, 4), f2, at4, at2, 2)
        y = self.cross(join_scales(self.up1(y), at2, x, at1, 1))  # the input joined again
        return inset_cells(cast(Tensor, self.head(y)), trim_px - at1)


def _compact(spec: ModelSpec) -> RestorationNetwork:
    return CompactUNet(*compact_sizes(spec), spec.planes)


def _resnet34(spec: ModelSpec) -> RestorationNetwork:
    return ResNetUNet(spec.planes)


def _half_scale(spec: ModelSpec) -> RestorationNetwork:
    return HalfScaleUNet(**half_scale_sizes(spec), planes=spec.planes)


_BUILDERS: Final[dict[str, Callable[[ModelSpec], RestorationNetwork]]] = {
    "compact": _compact,
    "half_scale": _half_scale,
    "resnet34": _resnet34,
}


def build(spec: ModelSpec) -> RestorationNetwork:
    """The network of a spec with fresh weights (seed with `torch.manual_seed`), in training mode.

    Raises:
        WeightsError: see `check_architecture`; or the model was imported.
    """
    if spec.architecture == SINGLE_IMAGE:
        raise WeightsError(
            f"{spec.name} was imported and cannot be trained here: use one of {', '.join(_BUILDERS)}"
        )
    check_architecture(spec)
    return _BUILDERS[spec.architecture](spec)


def multiplications_per_px(spec: ModelSpec) -> float:
    """Multiplications that the convolutions of a spec's network need for one pixel of output, without halo.

    This is the network as trained, before runtimes fold layers (`sr_model.network_layers.fold_shuffles`).

    Raises:
        WeightsError: as `build`.
    """
    multiplications = 0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal multiplications
        multiplications += output.numel() * cast(nn.Conv2d, layer).weight[0].numel()

    side = 8 * spec.stride
    with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed
        network = build(spec).eval()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        network.correction(torch.empty(1, spec.planes, side, side))
    return multiplications / side**2
