"""What is told of a run while it goes on: a bar or plain lines for people, scalars for TensorBoard and CSV."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import lightning
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from training.fit.config import FitConfig
from training.fit.schedule import crops_at, one_cycle

_SCALARS_EVERY: Final = 20  # steps, or as often as is saved


def make_loggers(run: Path, done: int) -> list[Logger]:
    """TensorBoard's, and a CSV file for each time that the run was started.

    TensorBoard is told to forget what an interrupted run logged after its last saving.
    """
    return [
        TensorBoardLogger(run, name="tensorboard", version="", purge_step=done + 1),
        CSVLogger(run, name="metrics", version=f"from_{done}"),
    ]


class Scalars(lightning.Callback):
    """Every term of the loss, the rate of learning and the crops' size: by the run's own step."""

    def __init__(self, every: int) -> None:
        self._every = min(every, _SCALARS_EVERY)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Log, if it is time."""
        if module.step % self._every and module.step != module.config.steps:
            return
        config: FitConfig = module.config
        last = module.step - 1
        scalars = {f"loss/{name}": float(value) for name, value in module.terms.items()}
        scalars["rate/lr"] = config.lr * one_cycle(last, config.steps)
        scalars["rate/crop_px"] = crops_at(last, config.steps, config.sizes_px, config.batch).side_px
        for logger in trainer.loggers:
            logger.log_metrics(scalars, module.step)


class Watch(lightning.Callback):
    """A bar with rate and time left; every `every` steps a plain line, which is all where there is no terminal."""

    def __init__(self, every: int, console: Console | None = None) -> None:
        self._every = every
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._crops = 0
        self._since = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar:
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Begin at the step that the run has reached."""
        self._since = time.monotonic()
        if not trainer.is_global_zero or not self._console.is_terminal:
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn())
        self._bar = Progress(TextColumn("fit"), *columns, TimeRemainingColumn(), console=self._console)
        self._task = self._bar.add_task("fit", total=module.config.steps, completed=module.step, rate="")
        self._bar.start()

    def on_train_batch_end(self, trainer: Any, module: Any, _outputs: Any, batch: Any, *_: Any) -> None:
        """Move the bar; print a line, if it is time."""
        config: FitConfig = module.config
        self._crops += len(batch[0]) * config.world
        if self._bar:
            self._bar.update(self._task, completed=module.step)
        if trainer.is_global_zero and (module.step % self._every == 0 or module.step == config.steps):
            terms = " ".join(f"{name} {float(value):.3f}" for name, value in module.terms.items())
            rate = f"{self._crops / (time.monotonic() - self._since):.1f} crops/s"
            self._crops, self._since = 0, time.monotonic()
            if self._bar:
                self._bar.update(self._task, rate=rate)
            self.say(f"step {module.step}/{config.steps} {rate} {terms}")

    def teardown(self, _trainer: Any, _module: Any, stage: str) -> None:  # noqa: ARG002 - Lightning's name
        """Give the terminal back."""
        if self._bar:
            self._bar.stop()

    def on_exception(self, trainer: Any, module: Any, _error: BaseException) -> None:
        """Likewise when the run breaks off."""
        self.teardown(trainer, module, "fit")
