"""Teach a trained network to leave out the lines that an old photograph's own sampling left in it.

Cameras and scanners that read odd and even rows apart, and careless resampling, leave rows of different gain: lines
with a period of two of the old photo's pixels, too weak to be seen until a network makes them sharp. The network is
its own teacher (distillation: Hinton et al. 2015): what it makes of a chip without that frequency is what it shall
make of the chip. Both lie exactly on each other and only the lines differ, so that neither VGG nor a discriminator
is needed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.network import build
from sr_model.weights import Weights
from training.augment import draw_grain
from training.dataset import load_pairs
from training.errors import DatasetError
from training.losses import luma
from training.module import restore
from training.pairs_manifest import read_site

Float32Array = npt.NDArray[np.float32]
Direction = Literal["rows", "columns"]

# Of the notch, in cycles per pixel: as narrow as a receptive field of a hundred pixels can follow.
_NOTCH_SIGMA: Final = 0.02
# Of the filter that finds lines in what student and teacher differ by, in pixels, and how far it reaches.
_LINE_SIGMA_PX: Final = 8.0
_LINE_REACH_PX: Final = 16
# Finer lines than this many pixels apart are not the old photo's: it was not enlarged.
_SHORTEST_PX: Final = 3.0
_CROPS: Final = 8
_PLAIN: Final = 2
# Of the new photos, so many are looked at: the network is to be kept as it is where it is used, on old ones.
_SHARP_EVERY: Final = 4
_CROP_PX: Final = 176
_MARGIN_PX: Final = 16
_SCALES: Final = (0.7, 1.4)
_STRONGEST: Final = 4.0
_EMA: Final = 0.995


class Choices(NamedTuple):
    """How the network is taught.

    Attributes:
        lines: what runs across the photograph.
        steps, lr: of AdamW under half a cosine.
        line_weight: of what is left of the lines, beside mean squared error.
        seed: of every draw.
    """

    lines: Direction = "rows"
    steps: int = 1500
    lr: float = 2e-4
    line_weight: float = 300.0
    seed: int = 0


class _Chip(NamedTuple):
    """float32 [3, H, W] in [0, 1]: a picture, and itself without lines."""

    lined: Tensor
    clean: Tensor


def without_lines(rgb: npt.NDArray[np.uint8], period_px: float, lines: Direction) -> Float32Array:
    """Take lines of one period out of a picture, and what little of the ground has exactly their frequency.

    Args:
        rgb: uint8 [H, W, 3].
        period_px: of the lines; 2 or more.
        lines: `rows` for lines that run from left to right.

    Returns:
        float32 [H, W, 3], grey levels.
    """
    pad = _LINE_REACH_PX * 2
    padded = np.pad(rgb.astype(np.float32), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    across, along = (
        np.abs(np.fft.fftfreq(side))
        for side in (padded.shape[:2] if lines == "rows" else padded.shape[1::-1])
    )
    distance = ((across[:, None] - 1 / period_px) ** 2 + along[None] ** 2) / _NOTCH_SIGMA**2
    passed = 1 - np.exp(-distance / 2)
    passed = passed if lines == "rows" else passed.T
    spectrum = np.fft.fft2(padded, axes=(0, 1)) * passed[..., None]
    clean: Float32Array = np.fft.ifft2(spectrum, axes=(0, 1)).real[pad:-pad, pad:-pad].astype(np.float32)
    return clean


def unline(
    weights: Weights, folders: Sequence[Path], choices: Choices, say: Callable[[str], None] = print
) -> dict[str, Tensor]:
    """The network's weights after it has learnt to leave the lines out.

    Args:
        weights: of the trained network.
        folders: of pairs. Those whose old photo is coarser than the grid show the lines; the old photos of others, and
            some of the new ones, keep the network as it is elsewhere.
        choices: how it is taught.
        say: told of the progress.

    Returns:
        Its state, float32, averaged over the last steps.

    Raises:
        DatasetError: no old photo was enlarged, or the chips are too small.
    """
    lined, plain, period_px = _load(folders, choices.lines)
    rng, generator = np.random.default_rng(choices.seed), torch.Generator().manual_seed(choices.seed)
    spec = weights.spec
    # Where a network has statistics of batches, they stay as they are.
    teacher = build(spec).to(memory_format=torch.channels_last).eval()
    teacher.load_state_dict(weights.state)
    student, average = copy.deepcopy(teacher), copy.deepcopy(teacher).requires_grad_(False)
    teacher.requires_grad_(False)
    optimiser = torch.optim.AdamW(student.parameters(), choices.lr, (0.9, 0.99), weight_decay=0.0)
    find_lines = _line_finder(period_px, choices.lines)
    left: list[float] = []
    before: list[float] = []
    since = time.monotonic()
    for step in range(choices.steps):
        for group in optimiser.param_groups:
            rise, fall = min(1.0, (step + 1) / 50), (1 + math.cos(math.pi * step / choices.steps)) / 2
            group["lr"] = choices.lr * rise * fall
        # Lines have their period only at the chips' own scale; the others keep the network as it is.
        scaled = step % 3 == 0
        given, clean = _draw(lined, plain, rng, scaled=scaled)
        grain = draw_grain(given, spec.planes - 3, generator)
        with torch.no_grad():
            wanted = restore(teacher, spec, clean, grain)
        wrong = restore(student, spec, given, grain) - wanted
        wrong = wrong[..., _MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
        loss = wrong.square().mean()
        if not scaled:
            power = find_lines(wrong)
            loss = loss + choices.line_weight * power
            left.append(power.item())
            if step % 6 == 1:
                with torch.no_grad():
                    untaught = restore(teacher, spec, given, grain) - wanted
                    before.append(find_lines(untaught).item())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            follow = 1 - min(_EMA, (1 + step) / (10 + step))
            for mean, value in zip(average.parameters(), student.parameters(), strict=True):
                mean.lerp_(value, follow)
        if (step + 1) % 100 == 0:
            share = fmean(left[-60:]) / max(fmean(before[-30:]), 1e-12)
            spent = time.monotonic() - since
            say(f"step {step + 1} of {choices.steps}, {spent:.0f} s: {share:.2f} of the lines' power left")
    return average.state_dict()


def _load(folders: Sequence[Path], lines: Direction) -> tuple[list[_Chip], list[_Chip], float]:
    lined, plain, periods = [], [], set()
    for folder in folders:
        site, pairs = read_site(folder), load_pairs([folder], "train")
        period_px = 2 * float(site["old_gsd_m"]) / float(site["gsd_m"])
        if period_px < _SHORTEST_PX:
            plain += [_Chip(old, old) for old in (_tensor(pair.old) for pair in pairs)]
            continue
        periods.add(period_px)
        lined += [_Chip(_tensor(p.old), _tensor(without_lines(p.old, period_px, lines))) for p in pairs]
        plain += [_Chip(new, new) for new in (_tensor(pair.new) for pair in pairs[::_SHARP_EVERY])]
    if not lined:
        raise DatasetError(
            "no old photo is coarser than its chips: lines of two of its pixels cannot be told apart"
        )
    if max(periods) / min(periods) > 1.01:
        raise DatasetError("the old photos have different pixel sizes: take those of one after the other")
    least = math.ceil(_CROP_PX * _SCALES[1])
    if min(min(chip.lined.shape[-2:]) for chip in lined + plain) < least:
        raise DatasetError(f"chips of {least} px are needed: make the pairs with a larger --size")
    return lined, plain, max(periods)


def _tensor(rgb: npt.NDArray[np.uint8] | Float32Array) -> Tensor:
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1).contiguous() / 255


def _draw(
    lined: Sequence[_Chip], plain: Sequence[_Chip], rng: np.random.Generator, *, scaled: bool
) -> tuple[Tensor, Tensor]:
    """Crops [B, 3, S, S], their lines as they are or up to so many times as strong; and without lines."""
    scale = float(np.exp(rng.uniform(*np.log(_SCALES)))) if scaled else 1.0
    room = round(_CROP_PX * scale)
    given, clean = [], []
    for number in range(_CROPS):
        chips, strength = plain if number < _PLAIN else lined, 1.0
        if rng.random() < 0.3:
            strength = rng.uniform(0, _STRONGEST)
        chip = chips[int(rng.integers(len(chips)))]
        y, x = (int(rng.integers(side - room + 1)) for side in chip.lined.shape[-2:])
        old, wanted = (picture[:, y : y + room, x : x + room] for picture in chip)
        given.append(wanted + (old - wanted) * strength)
        clean.append(wanted)
    both = torch.stack(given + clean)
    if room != _CROP_PX:
        both = F.interpolate(both, (_CROP_PX, _CROP_PX), mode="bicubic", antialias=room > _CROP_PX)
    # Flips keep rows rows; quarter turns would not.
    both = both.flip([axis for axis in (-2, -1) if rng.random() < 0.5])
    if scaled and rng.random() < 0.5:
        both = both.transpose(-2, -1)
    gain, offset = rng.normal(1, 0.05, (_CROPS, 3, 1, 1)), rng.normal(0, 0.02, (_CROPS, 3, 1, 1))
    jittered = (
        both.reshape(2, _CROPS, 3, _CROP_PX, _CROP_PX) * torch.from_numpy(gain).float()
        + torch.from_numpy(offset).float()
    )
    one, other = jittered.clamp(0, 1)
    return one, other


def _line_finder(period_px: float, lines: Direction) -> Callable[[Tensor], Tensor]:
    """What gives the mean power of lines in [B, 3, H, W], whatever their phase."""
    places = torch.arange(-_LINE_REACH_PX, _LINE_REACH_PX + 1.0)
    along = torch.exp(-((places / _LINE_SIGMA_PX) ** 2) / 2)
    along = along / along.sum()
    phase = 2 * math.pi * places / period_px
    across = 2 * torch.stack([along * phase.cos(), along * phase.sin()])
    size = len(places)
    first, second = along.view(1, 1, 1, size), across.view(2, 1, size, 1)

    def power(difference: Tensor) -> Tensor:
        grey = luma(difference)
        turned = grey if lines == "rows" else grey.transpose(-2, -1)
        return F.conv2d(F.conv2d(turned, first), second).square().mean()

    return power
