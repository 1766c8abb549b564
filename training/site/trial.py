"""How long training and evaluation will take on this machine: a few steps on made crops, and thrown away."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from sr_model.photo import PhotoContext
from training.fit.config import FitConfig
from training.fit.loading import source_px
from training.fit.run import compute_threads, make_fabric, make_module, quiet

# Calls that are timed, after one that is not.
_CALLS: Final = 5


@dataclass(frozen=True)
class Speed:
    """Seconds of this machine, as busy as it is now.

    Attributes:
        step_s: of a step of training.
        restore_s: of restoring a chip.
    """

    step_s: float
    restore_s: float


def measure_speed(config: FitConfig, chip_px: int) -> Speed:
    """Train for a few steps on noise, and restore a chip of it.

    Args:
        config: of the run; its pairs need not exist yet, so it names none.
        chip_px: side of the chips.
    """
    random = np.random.default_rng(config.seed)
    side_px = source_px(config.sizes_px[0], config.scale_range[1], chip_px)
    shape = (config.batch, 3, side_px, side_px)
    with quiet(), compute_threads(config.threads):
        fabric = make_fabric(config)
        module = make_module(config, None, fabric)
        crops = torch.from_numpy(random.integers(0, 256, shape, np.uint8))
        batch = fabric.to_device((crops, crops.flip(0), torch.zeros(config.batch, dtype=torch.bool)))
        step_s = _seconds(lambda: module.training_step(batch))
        chip = random.integers(0, 256, (chip_px, chip_px, 3), np.uint8)
        return Speed(step_s, _seconds(lambda: module.restore_photo(chip, PhotoContext(2.0))))


def _seconds(work: Callable[[], object]) -> float:
    """The median of some calls, after one that is slower."""
    taken = []
    for _ in range(_CALLS + 1):
        begun = time.monotonic()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.monotonic() - begun)
    return statistics.median(taken[1:])
