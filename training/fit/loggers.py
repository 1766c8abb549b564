"""Reports of a running fit: a bar and plain lines for people, scalars for TensorBoard and CSV."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from training.fit.config import FitConfig
from training.fit.module import Batch, RestorationModule
from training.fit.schedule import crops_at, one_cycle
from training.progress import ProgressBars, time_in_words

_SCALARS_EVERY: Final = 20  # steps, or as often as is saved


def make_loggers(run: Path, done: int) -> list[Logger]:
    """TensorBoard's, and a CSV file for each time that the run was started.

    TensorBoard is told to forget what an interrupted run logged after its last saving.
    """
    return [
        TensorBoardLogger(run, name="tensorboard", version="", purge_step=done + 1),
        CSVLogger(run, name="metrics", version=f"from_{done}"),
    ]


class Scalars:
    """Logs every term of the loss, the rate of learning and the crops' size, by the run's own step."""

    def __init__(self, fabric: Fabric, every: int) -> None:
        self._fabric, self._every = fabric, min(every, _SCALARS_EVERY)

    def __call__(self, module: RestorationModule, _batch: Batch) -> None:
        """Log, if it is time."""
        if module.step % self._every and module.step != module.config.steps:
            return
        config: FitConfig = module.config
        last = module.step - 1
        scalars = {f"loss/{name}": float(value) for name, value in module.terms.items()}
        scalars["rate/lr"] = config.lr * one_cycle(last, config.steps)
        scalars["rate/crop_px"] = crops_at(last, config.steps, config.sizes_px, config.batch).side_px
        self._fabric.log_dict(scalars, module.step)


class Lines:
    """Moves the bar; prints crops per second and the terms of the loss every `every` steps and at the end."""

    def __init__(self, bars: ProgressBars, every: int) -> None:
        self._bars, self._every = bars, every
        self._crops, self._since = 0, time.monotonic()
        self._began, self._done = self._since, -1

    def __call__(self, module: RestorationModule, batch: Batch) -> None:
        """Move the bar; print a line, if it is time."""
        config: FitConfig = module.config
        self._crops += len(batch[0]) * config.world
        if self._done < 0:
            self._done = module.step - 1
        self._bars("fit", module.step, config.steps)
        if module.step % self._every == 0 or module.step == config.steps:
            terms = " ".join(f"{name} {float(value):.3f}" for name, value in module.terms.items())
            rate = f"{self._crops / (time.monotonic() - self._since):.1f} crops/s"
            self._crops, self._since = 0, time.monotonic()
            left_s = (self._since - self._began) / (module.step - self._done) * (config.steps - module.step)
            left = f"{time_in_words(left_s)} left " if left_s else ""
            self._bars.say(f"step {module.step}/{config.steps} {left}{rate} {terms}")
