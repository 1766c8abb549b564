"""Measure whether the data loader keeps up: time per training step with real data over that with one cached batch.

At 1.00 the network never waits for data. Without --perceptual only the pixel losses are trained, which makes the
fastest steps and the hardest test of the loader. Rounds of both alternate, so that other load affects both alike.

Run: .venv/bin/python -m benchmarks.loader PAIRS... [--degrade PICTURE] [--perceptual PATH] [--sizes 112] [--batch 16]
The published recipe's step (ResNet-34, every 500 px pair through VGG):
     ... --architecture resnet34 --perceptual PATH --perceptual-all --sizes 480 --batch 16
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader, IterableDataset

from training.fit.config import FitConfig, LossWeights
from training.fit.kinds import untrained_spec
from training.fit.loading import crop_loader, workers
from training.fit.module import RestorationModule
from training.fit.run import precision_plugins

# Steps at the start of a round that are not timed: the loader fills its queue, and torch selects kernels.
WARM_UP = 8


class Repeated(IterableDataset[Any]):
    """Yields one batch again and again."""

    def __init__(self, batch: Any, steps: int) -> None:
        self._batch, self._steps = batch, steps

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(self._batch, self._steps)


def step_s(module: RestorationModule, fabric: Fabric, loader: Any) -> float:
    """Train one round; return seconds per step, including the wait for the batch."""
    ends: list[float] = []
    module.step = 0
    for batch in loader:
        module.training_step(fabric.to_device(batch))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
    return (ends[-1] - ends[WARM_UP - 1]) / (len(ends) - WARM_UP)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--degrade", action="append", default=[])
    parser.add_argument("--perceptual")
    parser.add_argument("--perceptual-all", action="store_true", help="run VGG on every crop in every step")
    parser.add_argument("--architecture", choices=("half_scale", "compact", "resnet34"), default="compact")
    parser.add_argument("--sizes", default="112", help="crop sizes in px, separated by commas")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sight = {"perceptual_every": 1, "perceptual_share": 1.0} if options.perceptual_all else {}
    config = FitConfig(
        **sight,
        pairs=tuple(options.pairs),
        degrade=tuple(options.degrade),
        perceptual=options.perceptual or "imagenet",
        architecture=options.architecture,
        encoder="none",
        steps=options.steps,
        batch=options.batch,
        sizes_px=tuple(map(int, options.sizes.split(","))),
        loss=LossWeights() if options.perceptual else LossWeights.of_pixels(),
    )
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    fabric = Fabric(devices=1, plugins=precision_plugins("auto"))
    module = RestorationModule(config, untrained_spec(config), fabric)
    real: list[float] = []
    cached: list[float] = []
    for _ in range(options.rounds):
        loader = crop_loader(config)
        batch = next(iter(loader))
        cached.append(step_s(module, fabric, DataLoader(Repeated(batch, config.steps), batch_size=None)))
        real.append(step_s(module, fabric, loader))
    ratio = statistics.median(a / b for a, b in zip(real, cached, strict=True))
    print(f"a step with real data takes {ratio:.2f} x a step with a cached batch")
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "architecture": options.architecture,
        "terms": "all" if options.perceptual else "pixels",
        "sizes_px": config.sizes_px,
        "batch": config.batch,
        "workers": workers(config),
        "step_s_real": [round(value, 4) for value in real],
        "step_s_cached": [round(value, 4) for value in cached],
        "crops_per_s": round(config.batch / statistics.median(real), 1),
        "ratio": round(ratio, 3),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
