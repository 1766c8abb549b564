"""Teach a trained network what its pictures lack by a rule: no lines, the old photo's shapes, enough fine detail.

The network is its own teacher (distillation: Hinton et al. 2015): what it makes of a chip, put right, is what it shall
make of the chip. Both lie exactly on each other, so that neither VGG nor a discriminator is needed, and what is put
right in training costs nothing when a picture is served.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from sr_model.network import build
from sr_model.spec import ModelSpec
from sr_model.weights import Weights
from training.data.augment import draw_grain
from training.data.dataset import Pair, load_pairs
from training.data.manifest import check_gsd, read_site
from training.errors import DatasetError, RunError
from training.fit.ema import moving_average
from training.fit.losses import luma
from training.fit.module import restore
from training.measure.metrics import band_energy
from training.progress import Report, no_report
from training.refine.lines import Direction, Float32Array, line_finder, without_lines

# Finer lines than this many pixels apart are not the old photo's: it was not enlarged.
_SHORTEST_PX: Final = 3.0
_CROPS: Final = 8
# Of them, so many show new photos, one in four of which is looked at: sharp pictures are not to get more detail.
_SHARP: Final = 1
_SHARP_EVERY: Final = 4
# At most; a multiple of the network's stride.
_CROP_PX: Final = 176
_MARGIN_PX: Final = 16
_SCALES: Final = (0.7, 1.4)
_STRONGEST: Final = 4.0
_EMA: Final = 0.995
# Shapes coarser than the first follow the old photo; structure finer than the second is called detail.
_SHAPE_SIGMA_PX: Final = 1.25
_DETAIL_SIGMA_PX: Final = 1.0
# Chips of a site that are looked at: as floats, all of a city's would not fit into memory, and these show enough.
_MOST_CHIPS: Final = 250
# Chips on which the energy of the detail is measured, and most by which it is made stronger or weaker.
_MEASURED: Final = 16
_MOST_GAIN: Final = 0.2


class RefineOptions(NamedTuple):
    """What the network is taught, and how.

    Attributes:
        lines: what runs across the photograph and shall go; None leaves it alone.
        fidelity: how far luma is drawn back to the old photo's, 0 to 1; see `back_project`.
        detail: share of the new photo's energy that fine detail is to have; 0 leaves it alone.
        steps, lr: of AdamW under half a cosine.
        line_weight: of the remaining power of the lines, beside mean squared error.
        seed: of every draw.
    """

    lines: Direction | None = None
    fidelity: float = 0.5
    detail: float = 0.7
    steps: int = 1500
    lr: float = 2e-4
    line_weight: float = 300.0
    seed: int = 0


class _Chip(NamedTuple):
    """float32 [3, H, W] in [0, 1]: a picture, and itself without lines; and by how much its detail lacks energy."""

    lined: Tensor
    clean: Tensor
    gain: float


class _Crops(NamedTuple):
    """[B, 3, S, S] in [0, 1] as in `_Chip`, and `gain` [B, 1, 1, 1]."""

    lined: Tensor
    clean: Tensor
    gain: Tensor


def back_project(restored: Tensor, old: Tensor, fidelity: float) -> Tensor:
    """Draw the luma of restored pictures back to the old photo's, wherever it is coarser than fine detail.

    The old photo's brightness and contrast as a whole do not count, for haze is there to be removed: its luma is
    brought to the restored picture's first, by the line that fits best.

    Args:
        restored, old: [B, 3, H, W] in [0, 1].
        fidelity: 0 changes nothing, 1 gives the old photo's luma.

    Source: Irani and Peleg 1991 (iterative back-projection), one step of it.
    """
    if fidelity == 0:
        return restored
    mine, true = (_blur(luma(picture), _SHAPE_SIGMA_PX) for picture in (restored, old))
    axes = (1, 2, 3)
    mine_0, true_0 = mine - mine.mean(axes, keepdim=True), true - true.mean(axes, keepdim=True)
    # A trifle, so that still water does not divide by nothing.
    slope = (mine_0 * true_0).mean(axes, keepdim=True) / (true_0.square().mean(axes, keepdim=True) + 1e-6)
    return restored + fidelity * (slope * true_0 - mine_0)


def with_detail(pictures: Tensor, gain: float | Tensor) -> Tensor:
    """Amplify detail finer than about two pixels by `gain`; pictures are [B, 3, H, W]."""
    return pictures + gain * (pictures - _blur(pictures, _DETAIL_SIGMA_PX))


def _blur(pictures: Tensor, sigma_px: float) -> Tensor:
    size = 2 * math.ceil(4 * sigma_px) + 1
    blurred: Tensor = gaussian_blur(pictures, [size, size], [sigma_px, sigma_px])
    return blurred


def refine(
    weights: Weights,
    folders: Sequence[Path],
    options: RefineOptions,
    say: Callable[[str], None] = print,
    progress: Report = no_report,
) -> dict[str, Tensor]:
    """The network's weights after it has learnt what `options` ask for.

    Args:
        weights: of the trained network.
        folders: of pairs. Only those whose old photo is coarser than the grid show its lines.
        options: what it is taught.
        say: called with lines about the sites and the course of training.
        progress: called with steps done and steps in all.

    Returns:
        Its state, float32, averaged over the last steps.

    Raises:
        DatasetError: lines are to go and no old photo was enlarged, the chips are too small or none, or
            have other pixels than the network.
        RunError: the weights are relative.
    """
    spec = weights.spec
    if spec.is_relative:
        raise RunError(
            "relative weights keep to the old photo's colours by themselves and are not refined: `export` them as they "
            "are, or train a network with --colours network"
        )
    # Where a network has statistics of batches, they stay as they are.
    teacher = build(spec).to(memory_format=torch.channels_last).eval()
    teacher.load_state_dict(weights.state)
    student = copy.deepcopy(teacher)
    average = moving_average(student, _EMA)
    teacher.requires_grad_(False)
    sites, sharp, period_px = _load(folders, options, teacher, spec, say)
    rng, generator = np.random.default_rng(options.seed), torch.Generator().manual_seed(options.seed)
    optimiser = torch.optim.AdamW(student.parameters(), options.lr, (0.9, 0.99), weight_decay=0.0)
    find_lines = line_finder(period_px, options.lines) if options.lines else None
    side_px = _CROP_PX // spec.stride * spec.stride
    log = _Log(options.steps)
    for step, crops in zip(range(options.steps), _draws(sites, sharp, side_px, rng), strict=False):
        _set_rate(optimiser, step, options)
        grain = draw_grain(crops.lined, spec.planes - 3, generator)
        with torch.no_grad():
            wanted = _target(teacher, spec, crops, grain, options.fidelity)
        wrong = _inner(restore(student, spec, crops.lined, grain) - wanted)
        loss = wrong.square().mean()
        log.errors.append(loss.item())
        # Lines have their period only at the chips' own scale.
        if find_lines and not _is_scaled(step):
            power = find_lines(wrong)
            loss = loss + options.line_weight * power
            log.line_powers.append(power.item())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(student)
        progress("refine", step + 1, options.steps)
        if (step + 1) % 100 == 0:
            say(log.line(step + 1))
    return average.module.state_dict()


class _Log:
    """What was measured step by step: mean squared errors and, where lines were looked for, their power."""

    def __init__(self, steps: int) -> None:
        self._steps, self._since = steps, time.monotonic()
        self.errors: list[float] = []
        self.line_powers: list[float] = []

    def line(self, done: int) -> str:
        """How the last hundred steps went."""
        missed = 255 * math.sqrt(fmean(self.errors[-100:]))
        lines = f", lines' power {255**2 * fmean(self.line_powers[-60:]):.3f}" if self.line_powers else ""
        spent = time.monotonic() - self._since
        return f"step {done} of {self._steps}, {spent:.0f} s: {missed:.2f} grey levels off{lines}"


def _set_rate(optimiser: torch.optim.Optimizer, step: int, options: RefineOptions) -> None:
    """A rise over 50 steps under half a cosine."""
    rise, fall = min(1.0, (step + 1) / 50), (1 + math.cos(math.pi * step / options.steps)) / 2
    for group in optimiser.param_groups:
        group["lr"] = options.lr * rise * fall


def _target(teacher: nn.Module, spec: ModelSpec, crops: _Crops, grain: Tensor, fidelity: float) -> Tensor:
    return with_detail(
        back_project(restore(teacher, spec, crops.clean, grain), crops.clean, fidelity), crops.gain
    )


def _inner(pictures: Tensor) -> Tensor:
    return pictures[..., _MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]


def _is_scaled(step: int) -> bool:
    return step % 3 == 0


def _load(
    folders: Sequence[Path],
    options: RefineOptions,
    teacher: nn.Module,
    spec: ModelSpec,
    say: Callable[[str], None],
) -> tuple[list[list[_Chip]], list[_Chip], float]:
    """Old chips by site, new ones, and the lines' period."""
    for folder in folders:
        check_gsd(folder, read_site(folder), spec.gsd_range_m)
    sites, sharp, periods = [], [], set()
    for folder in folders:
        site, pairs = read_site(folder), load_pairs([folder], "train", _MOST_CHIPS)
        if not pairs:
            raise DatasetError(f"{folder.name} has no chips to learn from: make the pairs again")
        period_px = 2 * float(site["old_gsd_m"]) / float(site["gsd_m"])
        _check_sizes(pairs)
        lines = options.lines if period_px >= _SHORTEST_PX else None
        clean = [without_lines(pair.old, period_px, lines) if lines else pair.old for pair in pairs]
        gain = _missing_detail(teacher, spec, pairs, clean, options)
        if gain:
            say(f"{folder.name}: fine detail shall be {1 + gain:.2f} times as strong")
        olds = [_tensor(pair.old) for pair in pairs]
        cleans = [_tensor(old) for old in clean] if lines else olds
        sites.append([_Chip(old, bare, gain) for old, bare in zip(olds, cleans, strict=True)])
        sharp += [_Chip(new, new, 0.0) for new in (_tensor(pair.new) for pair in pairs[::_SHARP_EVERY])]
        if lines:
            periods.add(period_px)
    if options.lines and not periods:
        raise DatasetError(
            "no old photo is coarser than its chips: lines of two of its pixels cannot be told apart"
        )
    if periods and max(periods) / min(periods) > 1.01:
        raise DatasetError("the old photos have different pixel sizes: take those of one after the other")
    return sites, sharp, max(periods, default=0.0)


def _check_sizes(pairs: Sequence[Pair]) -> None:
    least = math.ceil(_CROP_PX * _SCALES[1])
    if min(min(pair.old.shape[:2]) for pair in pairs) < least:
        raise DatasetError(f"chips of {least} px are needed: make the pairs with a larger --size")


def _missing_detail(
    teacher: nn.Module,
    spec: ModelSpec,
    pairs: Sequence[Pair],
    clean: Sequence[npt.NDArray[np.uint8] | Float32Array],
    options: RefineOptions,
) -> float:
    """The gain with which a site's pictures have the wanted share of its new photo's fine energy."""
    if options.detail == 0:
        return 0.0
    generator = torch.Generator().manual_seed(options.seed)
    pictures, news = [], []
    for index in np.unique(np.linspace(0, len(pairs) - 1, _MEASURED).round().astype(int)):
        # Multiples of any stride that a network has.
        height, width = (side // 64 * 64 for side in pairs[index].new.shape[:2])
        old = _tensor(clean[index])[None, :, :height, :width]
        grain = draw_grain(old, spec.planes - 3, generator)
        with torch.no_grad():
            restored = back_project(restore(teacher, spec, old, grain), old, options.fidelity)
        pictures.append(_inner(restored))
        news.append(pairs[index].new[_MARGIN_PX : height - _MARGIN_PX, _MARGIN_PX : width - _MARGIN_PX])

    def lacks(gain: float) -> bool:
        made = [(255 * with_detail(picture, gain)[0].clamp(0, 1)).permute(1, 2, 0) for picture in pictures]
        energies = [
            band_energy(one.numpy().round().astype(np.uint8), new)
            for one, new in zip(made, news, strict=True)
        ]
        return sum(energy for energy, _ in energies) < options.detail * sum(wanted for _, wanted in energies)

    low, high = -_MOST_GAIN, _MOST_GAIN
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (middle, high) if lacks(middle) else (low, middle)
    return (low + high) / 2


def _tensor(rgb: npt.NDArray[np.uint8] | Float32Array) -> Tensor:
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1).contiguous() / 255


def _draws(
    sites: Sequence[Sequence[_Chip]], sharp: Sequence[_Chip], side_px: int, rng: np.random.Generator
) -> Iterator[_Crops]:
    """Crops of `side_px`, at another scale every third time; lines as they are, or up to so many times as strong."""
    for step in count():
        scale = float(np.exp(rng.uniform(*np.log(_SCALES)))) if _is_scaled(step) else 1.0
        room = round(side_px * scale)
        lined, clean, gains = [], [], []
        for number in range(_CROPS):
            chips = sharp if number < _SHARP else sites[int(rng.integers(len(sites)))]
            strength = 1.0
            if rng.random() < 0.3:
                strength = rng.uniform(0, _STRONGEST)
            chip = chips[int(rng.integers(len(chips)))]
            y, x = (int(rng.integers(side - room + 1)) for side in chip.lined.shape[-2:])
            old, wanted = (picture[:, y : y + room, x : x + room] for picture in chip[:2])
            lined.append(wanted + (old - wanted) * strength)
            clean.append(wanted)
            gains.append(chip.gain)
        both = torch.stack(lined + clean)
        if room != side_px:
            both = F.interpolate(both, (side_px, side_px), mode="bicubic", antialias=room > side_px)
        # Flips keep rows rows; quarter turns would not.
        both = both.flip([axis for axis in (-2, -1) if rng.random() < 0.5])
        if _is_scaled(step) and rng.random() < 0.5:
            both = both.transpose(-2, -1)
        factor, offset = rng.normal(1, 0.05, (_CROPS, 3, 1, 1)), rng.normal(0, 0.02, (_CROPS, 3, 1, 1))
        jittered = (
            both.reshape(2, _CROPS, 3, side_px, side_px) * torch.from_numpy(factor).float()
            + torch.from_numpy(offset).float()
        )
        one, other = jittered.clamp(0, 1)
        yield _Crops(one, other, torch.tensor(gains).view(-1, 1, 1, 1))
