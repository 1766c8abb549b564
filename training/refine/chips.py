"""Chips that a network learns from when it is refined, and the crops that are drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.spec import ModelSpec
from training.data.augment import draw_grain
from training.data.dataset import Pair, load_pairs
from training.data.manifest import check_gsd, read_site
from training.errors import DatasetError
from training.fit.module import restore
from training.measure.metrics import band_energy
from training.refine.lines import Float32Array, without_lines
from training.refine.options import RefineOptions
from training.refine.rules import MARGIN_PX, back_project, inner, with_detail

# Finer lines than this many pixels apart are not the old photo's: it was not enlarged.
_SHORTEST_PX: Final = 3.0
_CROPS: Final = 8
# So many of these crops show new photos, so that sharp pictures get no more detail, and one new photo in four is used.
_SHARP: Final = 1
_SHARP_EVERY: Final = 4
# Largest side of a crop, which is a multiple of the network's stride.
CROP_PX: Final = 176
_SCALES: Final = (0.7, 1.4)
_STRONGEST: Final = 4.0
# Most chips of a site: all of a city's would not fit into memory as floats, and these show enough.
_MOST_CHIPS: Final = 250
# Chips on which the energy of the detail is measured, and most by which it is amplified or weakened.
_MEASURED: Final = 16
_MOST_GAIN: Final = 0.2


class Chip(NamedTuple):
    """A picture to learn from.

    Attributes:
        lined, clean: float32 [3, H, W] in [0, 1]: the picture, and itself without lines.
        gain: by how much its detail has to be amplified.
    """

    lined: Tensor
    clean: Tensor
    gain: float


class Chips(NamedTuple):
    """Chips to learn from.

    Attributes:
        sites: old chips by site.
        sharp: new chips, whose detail is to stay as it is.
        period_px: period of the lines; 0 if there are none to remove.
    """

    sites: list[list[Chip]]
    sharp: list[Chip]
    period_px: float


class Crops(NamedTuple):
    """A batch of crops: float32 [B, 3, S, S] in [0, 1] and `gain` [B, 1, 1, 1], as in `Chip`."""

    lined: Tensor
    clean: Tensor
    gain: Tensor


def load_chips(
    folders: Sequence[Path],
    options: RefineOptions,
    teacher: nn.Module,
    spec: ModelSpec,
    say: Callable[[str], None],
) -> Chips:
    """Load the training chips of folders of pairs.

    Args:
        folders: of pairs.
        options: what the network is taught.
        teacher: the trained network, which shows how much detail its pictures lack.
        spec: of the network.
        say: called with lines about the sites.

    Raises:
        DatasetError: lines are to go and no old photo was enlarged, the chips are too small or none, or
            have other pixels than the network.
    """
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
            say(f"{folder.name}: fine detail is to be {1 + gain:.2f} times as strong")
        olds = [_tensor(pair.old) for pair in pairs]
        cleans = [_tensor(old) for old in clean] if lines else olds
        sites.append([Chip(old, bare, gain) for old, bare in zip(olds, cleans, strict=True)])
        sharp += [Chip(new, new, 0.0) for new in (_tensor(pair.new) for pair in pairs[::_SHARP_EVERY])]
        if lines:
            periods.add(period_px)
    if options.lines and not periods:
        raise DatasetError(
            "no old photo is coarser than its chips, so lines of two of its pixels cannot be found: leave out --lines"
        )
    if periods and max(periods) / min(periods) > 1.01:
        raise DatasetError(
            "the old photos have different pixel sizes: with --lines, name folders of one size only"
        )
    return Chips(sites, sharp, max(periods, default=0.0))


def _check_sizes(pairs: Sequence[Pair]) -> None:
    least = math.ceil(CROP_PX * _SCALES[1])
    if min(min(pair.old.shape[:2]) for pair in pairs) < least:
        raise DatasetError(f"chips of {least} px are needed: make the pairs with a larger --size")


def _missing_detail(
    teacher: nn.Module,
    spec: ModelSpec,
    pairs: Sequence[Pair],
    clean: Sequence[npt.NDArray[np.uint8] | Float32Array],
    options: RefineOptions,
) -> float:
    """Return the gain that gives a site's pictures the wanted share of its new photo's fine energy."""
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
        pictures.append(inner(restored))
        news.append(pairs[index].new[MARGIN_PX : height - MARGIN_PX, MARGIN_PX : width - MARGIN_PX])

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


def is_scaled(step: int) -> bool:
    """Return whether a step's crops are scaled; lines then have another period."""
    return step % 3 == 0


def draw_crops(chips: Chips, side_px: int, rng: np.random.Generator) -> Iterator[Crops]:
    """Yield crops of `side_px`, scaled every third time; lines as they are, or up to four times as strong."""
    for step in count():
        scale = float(np.exp(rng.uniform(*np.log(_SCALES)))) if is_scaled(step) else 1.0
        room = round(side_px * scale)
        lined, clean, gains = [], [], []
        for number in range(_CROPS):
            chosen = chips.sharp if number < _SHARP else chips.sites[int(rng.integers(len(chips.sites)))]
            strength = 1.0
            if rng.random() < 0.3:
                strength = rng.uniform(0, _STRONGEST)
            chip = chosen[int(rng.integers(len(chosen)))]
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
        if is_scaled(step) and rng.random() < 0.5:
            both = both.transpose(-2, -1)
        factor, offset = rng.normal(1, 0.05, (_CROPS, 3, 1, 1)), rng.normal(0, 0.02, (_CROPS, 3, 1, 1))
        jittered = (
            both.reshape(2, _CROPS, 3, side_px, side_px) * torch.from_numpy(factor).float()
            + torch.from_numpy(offset).float()
        )
        one, other = jittered.clamp(0, 1)
        yield Crops(one, other, torch.tensor(gains).view(-1, 1, 1, 1))
