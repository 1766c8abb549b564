"""The crops of each step, and the processes that prepare them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils.data import DataLoader, Sampler

from sr_model.machine import usable_cores
from training.data.dataset import AnyPair, CropDataset, Item, bytes_of, find_pairs, load_all, load_sharp
from training.data.memory import available_bytes
from training.data.season import keep_season
from training.errors import DatasetError
from training.fit.config import FitConfig
from training.fit.schedule import crops_at
from training.fit.stopping import leave_signals_to_the_run

_MAX_WORKERS: Final = 8
# The rest is for the networks, and for what others will need.
_SHARE_OF_MEMORY: Final = 0.5
# Twice the largest stride, so that two phases of the network's grid always have ground in common.
_SMALLEST_CROP_PX: Final = 64


class StepSampler(Sampler[list[Item]]):
    """One list of items per step. A function of the step and the rank, so a resumed run goes on with the next.

    Every item of a run has a number of its own, whichever device sees it.
    """

    def __init__(self, config: FitConfig, sources_px: dict[int, int], *, done: int, rank: int) -> None:
        self._config, self._sources_px = config, sources_px
        self._done, self._rank = done, rank

    def __iter__(self) -> Iterator[list[Item]]:
        config = self._config
        for step in range(self._done, config.steps):
            crops = crops_at(step, config.steps, config.sizes_px, config.batch)
            first = step * config.world * config.batch + self._rank * crops.count
            source_px = self._sources_px[crops.side_px]
            yield [Item(first + n, source_px) for n in range(crops.count)]

    def __len__(self) -> int:
        return self._config.steps - self._done


def source_px(side_px: int, largest_scale: float, smallest_px: int) -> int:
    """Side of the square that a crop is cut from: room for the largest scale, where the pictures have it."""
    return min(math.ceil(side_px * largest_scale), smallest_px)


def workers(config: FitConfig) -> int:
    """Processes that cut and age; the order of the items does not depend on their number."""
    return config.workers or max(min(usable_cores() - 1, _MAX_WORKERS) // config.devices, 1)


def say_nothing(_line: str) -> None:
    """Say nothing, which is the default."""


def crop_loader(
    config: FitConfig, *, done: int = 0, rank: int = 0, say: Callable[[str], None] = say_nothing
) -> DataLoader[Any]:
    """The steps that are left of a run, for one of its devices.

    Args:
        config: of the run.
        done: steps that are done.
        rank: of the device among all.
        say: see `crop_dataset`.

    Returns:
        Batches of uint8 [B, 3, S, S] old and new, and bool [B]: exactly aligned.

    Raises:
        DatasetError: there is nothing to train on, or a picture is smaller than the smallest crop.
    """
    dataset = crop_dataset(config, say)
    sources_px = {
        side: source_px(side, config.scale_range[1], dataset.smallest_px) for side in config.sizes_px
    }
    return DataLoader(
        dataset,
        batch_sampler=StepSampler(config, sources_px, done=done, rank=rank),
        num_workers=workers(config),
        prefetch_factor=4,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=leave_signals_to_the_run,
    )


def _training_pairs(config: FitConfig, say: Callable[[str], None]) -> list[AnyPair]:
    """Loaded, or as files where all of them would not fit into half of the free memory."""
    seasons = [
        find_pairs(
            [Path(folder) for folder in config.pairs if (folder in config.keep_season) == kept], "train"
        )
        for kept in (False, True)
    ]
    # Each process that trains on this machine has its own.
    wanted, free = bytes_of([*seasons[0], *seasons[1]]) * config.devices, available_bytes()
    if wanted <= free * _SHARE_OF_MEMORY:
        plain, kept = (load_all(pairs) for pairs in seasons)
        return [*plain, *keep_season(kept)]
    say(
        f"the chips take {wanted / 1e9:.1f} GB and {free / 1e9:.1f} GB of memory are free: they are read as needed, "
        "which takes --workers more time"
    )
    return [*seasons[0], *keep_season(seasons[1])]


def crop_dataset(config: FitConfig, say: Callable[[str], None] = say_nothing) -> CropDataset:
    """The training chips of a run's pairs, and the pictures that it ages.

    Args:
        config: of the run.
        say: called with a line where the chips do not fit into memory.

    Raises:
        DatasetError: there is nothing to train on, or a picture is smaller than the smallest crop.
    """
    dataset = CropDataset(
        _training_pairs(config, say),
        load_sharp(config.degrade),
        aged_share=config.aged_share,
        seed=config.seed,
        ageing=config.ageing,
    )
    least_px = max(config.sizes_px[0], math.ceil(_SMALLEST_CROP_PX * config.scale_range[1]))
    if dataset.smallest_px < least_px:
        raise DatasetError(
            f"a picture of {dataset.smallest_px} px is smaller than the {least_px} px that the crops need: "
            "choose smaller --sizes, leave the picture out, or make the pairs with a larger --size"
        )
    return dataset
