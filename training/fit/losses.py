"""The terms of the loss.

`PerceptualLoss` is that of fastai's lesson 7 (after Johnson et al. 2016, Gatys et al. 2016): L1 between VGG16's
features and between their Gram matrices. Here a discriminator looks at the same features (after Sauer et al. 2021,
Projected GAN), which costs little more than the features that are computed anyway and tells textures apart that Gram
matrices do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from sr_model.pixels import LUMA
from sr_model.spec import IMAGENET_MEAN, IMAGENET_STD
from training.errors import TrainingError

# ReLU outputs of torchvision's vgg16().features just before each max-pool: relu1_2, 2_2, 3_3, 4_3, 5_3.
_TAPS: Final = (3, 8, 15, 22, 29)
VGG_CHANNELS: Final = (64, 128, 256, 512, 512)
# Least correlation with the old photo by the side of the pixels that both are averaged to: a soft photo holds little at
# its own pixels, and finer texture may come there.
_STRUCTURE: Final = {2: 0.95, 4: 0.98}


def luma(rgb: Tensor) -> Tensor:
    """[B, 3, H, W] to [B, 1, H, W] (ITU-R BT.601)."""
    weights = torch.tensor(LUMA, device=rgb.device, dtype=rgb.dtype).view(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True)


class VggFeatures(nn.Module):
    """Frozen VGG16 trunk: pictures in [0, 1] to the features before its first `taps` max-pools."""

    def __init__(self, source: str | Path = "imagenet", taps: int = 5) -> None:
        super().__init__()
        self.taps = _TAPS[:taps]
        self.channels = VGG_CHANNELS[:taps]
        self.layers = vgg16(weights=None).features[: self.taps[-1] + 1]
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.layers.to(memory_format=torch.channels_last)
        self._load(source)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def _load(self, source: str | Path) -> None:
        state = {
            key.removeprefix("features."): value.float()
            for key, value in _vgg_file(source).items()
            if key.startswith("features.")
        }
        wanted = self.layers.state_dict()
        if missing := wanted.keys() - state.keys():
            raise TrainingError(
                f"the VGG16 weights lack {sorted(missing)[0]}: name a file with features.N keys"
            )
        if wrong := [key for key in wanted if state[key].shape != wanted[key].shape]:
            raise TrainingError(
                f"the VGG16 weights' {wrong[0]} is {list(state[wrong[0]].shape)}, not "
                f"{list(wanted[wrong[0]].shape)}: name a file of torchvision's vgg16, without batch normalisation"
            )
        self.layers.load_state_dict({key: state[key] for key in wanted})

    def train(self, mode: bool = True) -> VggFeatures:
        """Stays in eval mode."""
        return super().train(mode and False)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] to one tensor [B, C, H / 2^i, W / 2^i] per tap."""
        x = (rgb - self.mean) / self.std
        features = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.taps:
                features.append(x)
        return features


def _vgg_file(source: str | Path) -> dict[str, Tensor]:
    if source == "imagenet":
        try:
            return dict(VGG16_Weights.IMAGENET1K_FEATURES.get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:  # no network, or half a file
            raise TrainingError(
                f"torchvision could not download VGG16's weights ({error}): name a safetensors file with "
                "torchvision's vgg16 features, --perceptual PATH, or train with --pixels-only"
            ) from error
    try:
        return load_file(source)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"--perceptual {Path(source).name} cannot be read: name a safetensors file "
            "with torchvision's vgg16 features, or `imagenet`"
        ) from error


def gram(features: Tensor) -> Tensor:
    """X X^T / (c h w): [B, C, H, W] to [B, C, C]."""
    batch, channels, height, width = features.shape
    flat = features.float().reshape(batch, channels, height * width)
    return flat @ flat.transpose(1, 2) / (channels * height * width)


def feature_loss(restored: Sequence[Tensor], new: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted L1 between features, the weights from shallow to deep."""
    terms = [w * F.l1_loss(a.float(), b.float()) for a, b, w in zip(restored, new, weights, strict=True) if w]
    return torch.stack(terms).sum() if terms else restored[0].new_zeros(())


def gram_loss(restored: Sequence[Tensor], new: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted L1 between Gram matrices, weights squared and times 5e3 as in the published recipe."""
    terms = [
        w * w * 5e3 * F.l1_loss(gram(a), gram(b)) for a, b, w in zip(restored, new, weights, strict=True) if w
    ]
    return torch.stack(terms).sum() if terms else restored[0].new_zeros(())


def colour_loss(restored: Tensor, new: Tensor, block_px: int = 8) -> Tensor:
    """L1 between area averages: colour and light without the detail that misregistration would blur."""
    return F.l1_loss(F.avg_pool2d(restored, block_px), F.avg_pool2d(new, block_px))


def fringe_loss(restored: Tensor, old: Tensor, gain: float = 1.5, floor: float = 0.008) -> Tensor:
    """Measure how far the detail of colour exceeds `gain` times the old photo's around it: coloured rims."""
    detail = []
    for picture in (restored, old):
        colour = picture - luma(picture)
        detail.append((colour - F.avg_pool2d(colour, 5, 1, 2, count_include_pad=False)).abs())
    return F.relu(detail[0] - gain * F.avg_pool2d(detail[1], 3, 1, 1) - floor).mean()


def structure_loss(restored: Tensor, old: Tensor) -> Tensor:
    """Sum the amounts by which the correlation with the old photo falls below the floors of `_STRUCTURE`.

    Colour-blind (luma), and blind to contrast: Pearson's correlation per crop, and once over the whole batch, so
    that woods and fields keep their order of brightness too.
    """
    terms = []
    for block_px, floor in _STRUCTURE.items():
        a, b = (F.avg_pool2d(luma(x), block_px).flatten(1) for x in (restored, old))
        terms += [_structure_lost(a, b, floor), _structure_lost(a.view(1, -1), b.view(1, -1), floor)]
    return torch.stack(terms).sum()


def same_ground(
    restored: Tensor, again: Tensor, phase: Sequence[int], margin_px: int
) -> tuple[Tensor, Tensor]:
    """Cut two restorations, in windows at different phases of the network's grid, to the ground that both show.

    Args:
        restored: [B, 3, H, W].
        again: the first N of the same crops, rolled by `phase` (rows, columns) and then restored.
        phase: 1 px or more each.
        margin_px: pixels this near to an edge of the crop or to its rolled seam are left out.

    Returns:
        Two tensors [N, 3, h, w].
    """
    (y, x), (height, width) = phase, restored.shape[-2:]
    here = restored[: len(again), :, margin_px : height - y - margin_px, margin_px : width - x - margin_px]
    return here, again[..., y + margin_px : height - margin_px, x + margin_px : width - margin_px]


GRID_LEAST_PX: Final = 16
"""Less common ground than this holds too few periods of 8 px."""


def grid_loss(here: Tensor, there: Tensor) -> Tensor:
    """Power that two restorations of the same ground differ by at periods of 2, 4 and 8 px.

    What differs is drawn by the network's grid; its periods are where the eye finds it. Relative to the power beside
    each period, so that fine detail may be as strong as it likes; logarithmic where it is far above that power, which
    on soft photographs is next to nothing, so that a fresh network's pattern does not drown all other terms.
    [N, 3, h, w] each, `GRID_LEAST_PX` or more a side.
    """
    size = min(here.shape[-2:]) // 8 * 8
    window = torch.hann_window(size, device=here.device)
    a, b = (luma(x[..., :size, :size].float())[:, 0] * window * window[:, None] for x in (here, there))
    own = torch.fft.fft2(a - b).abs().square().mean(0)
    power = torch.fft.fft2(a.detach()).abs().square().mean(0)
    near = torch.stack([power.roll(shift, axis) for shift in (-3, -2, 2, 3) for axis in (0, 1)]).mean(0)
    places = [0, size // 8, size // 4, size // 2, -(size // 4), -(size // 8)]
    bins = torch.tensor(places, device=here.device)
    rows, columns = (grid.flatten()[1:] for grid in torch.meshgrid(bins, bins, indexing="ij"))
    ratio: Tensor = own[rows, columns] / (near[rows, columns] + 1e-6)
    return ratio.log1p().mean()


def spectrum_loss(restored: Tensor, new: Tensor, bands: int = 8) -> Tensor:
    """L1 between the logarithms of each crop's power in rings from 0.1 to 0.5 cycles per pixel.

    How much detail of each size there is, wherever it lies: misregistration does not matter, and a soft photo cannot
    stay soft. After Durall et al. 2020. [B, 3, H, H] each.
    """
    size = restored.shape[-1]
    window = torch.hann_window(size, device=restored.device)
    frequencies = torch.fft.fftfreq(size, device=restored.device)
    radius = torch.hypot(frequencies[:, None], frequencies[None, : size // 2 + 1])
    ring = ((radius - 0.1) / 0.4 * bands).floor()
    # [places, bands]; choosing the places inside by a mask would make the processor wait for the GPU.
    rings = (ring.flatten()[:, None] == torch.arange(bands, device=restored.device)).float()
    # An eighth of a grey level: a black crop has no spectrum to match.
    floor = (0.125 / 255) ** 2 * size**2 * rings.sum() / bands
    logs = []
    for picture in (restored, new):
        detail = luma(picture.float())[:, 0]
        power = torch.fft.rfft2((detail - detail.mean((1, 2), keepdim=True)) * window * window[:, None])
        logs.append((power.abs().square().flatten(1) @ rings + floor).log())
    return F.l1_loss(*logs)


def _structure_lost(a: Tensor, b: Tensor, floor: float) -> Tensor:
    """Measure how far Pearson's correlation of each row of `a` with that of `b`, the old photo's, is below a floor.

    A flat field has no structure to keep: it counts the less, the less its own contrast is above 8 grey levels.
    """
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    power_a, power_b = a.square().mean(1), b.square().mean(1)
    correlation = (a * b).mean(1) / (power_a * power_b + 1e-12).sqrt()
    return (F.relu(floor - correlation) * power_b / (power_b + 1e-3)).mean()


class Discriminator(nn.Module):
    """Patch discriminator on pixels (beside the old photo's colours) and on some of VGG's features.

    Every head gives one logit per place; a hinge loss wants new photos above 1 and restored ones below -1. The
    head on pixels sees fine detail amplified: its contrast is a tenth of that of fields and roads, and unamplified it
    would be the last thing that this head learns to look at.
    """

    def __init__(self, feature_channels: Sequence[int], width: int = 48) -> None:
        super().__init__()
        self.pixels = nn.Sequential(
            nn.Conv2d(9, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 3 * width, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(3 * width, 1, 3, 1, 1),
        )
        self.features = nn.ModuleList(self._head(channels) for channels in feature_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.utils.parametrizations.spectral_norm(module)

    @staticmethod
    def _head(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 48, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 48, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 1, 1),
        )

    def forward(self, rgb: Tensor, old: Tensor, features: Sequence[Tensor] = ()) -> list[Tensor]:
        """Pictures [B, 3, H, W] in [0, 1], and VGG features of some of them if any, to logits, one tensor per head."""
        # Of the old photo only its colours: where edges lie would betray which picture was made from it.
        colours = F.interpolate(F.avg_pool2d(old, 8), scale_factor=8.0, mode="bilinear")
        detail = rgb - F.avg_pool2d(F.pad(rgb, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
        logits = [self.pixels(torch.cat([rgb * 4 - 2, detail * 16, colours * 4 - 2], 1))]
        if features:
            logits += [head(_unit(feature)) for head, feature in zip(self.features, features, strict=True)]
        return [value.float() for value in logits]


def _unit(features: Tensor) -> Tensor:
    """Each place's features to a root mean square of 1, so that a head sees the kind of texture, not its strength."""
    return features * features.float().square().mean(1, keepdim=True).add(1e-6).rsqrt()


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss (Lim and Ye 2017), averaged over the heads."""
    terms = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def generator_loss(fake: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The adversarial term of the network: a weighted sum over the heads, that on pixels first."""
    return torch.stack([-w * f.mean() for f, w in zip(fake, weights[: len(fake)], strict=True)]).sum()
