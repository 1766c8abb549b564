"""A rate to learn at: a short run whose rate grows from step to step shows from where on the loss rises.

The learning rate range test of Smith 2017, with the smoothing and the end of fastai's: it stops where the loss is four
times its least. A third of the rate from which on the loss rises is suggested. Each loss is relative to that of the
network as it was at first, on the same crops: some crops are harder than others, and at low rates that is all that
would show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from lightning.fabric import Fabric

from training.errors import RunError
from training.fit.config import FitConfig
from training.fit.loading import crop_loader
from training.fit.module import RestorationModule
from training.fit.run import make_fabric, make_module, quiet
from training.progress import Report, no_report

STEPS: Final = 100
_RATES: Final = (1e-6, 1.0)
_SMOOTHING: Final = 0.9
_WORSE: Final = 4.0
_MARGIN: Final = 3.0
# A loss of this many times the least has risen.
_RISEN: Final = 1.1
# Losses of so few steps tell nothing.
_LEAST_STEPS: Final = 10
# What the network and the discriminator win from each other says nothing about the rate.
_NOT_LOSS: Final = ("adversarial", "discriminator")


@dataclass(frozen=True)
class RateCurve:
    """The loss at growing rates.

    Attributes:
        rates: of the steps.
        losses: over that of the network at first, smoothed; 1 is nothing learnt.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggested(self) -> float:
        """A third of the largest rate up to which the loss had not risen from its least, to one digit."""
        least = min(range(len(self.losses)), key=self.losses.__getitem__)
        risen = (n for n in range(least, len(self.losses)) if self.losses[n] > _RISEN * self.losses[least])
        last = next(risen, len(self.losses)) - 1
        return float(f"{self.rates[last] / _MARGIN:.0e}")

    def table(self, rows: int = 12) -> str:
        """Some of the steps, as lines for people."""
        step = max(1, math.ceil(len(self.rates) / rows))
        lines = [
            f"{rate:9.1e}  {loss:8.3f}"
            for rate, loss in zip(self.rates[::step], self.losses[::step], strict=True)
        ]
        return "\n".join(["     rate      loss", *lines])


def find_rate(
    config: FitConfig, *, init: Path | None = None, steps: int = STEPS, progress: Report = no_report
) -> RateCurve:
    """Train for some steps with a rate that grows by the same factor each step; nothing is written.

    Args:
        config: of the run whose rate is sought.
        init: weights that it starts from.
        steps: to try at most.
        progress: called with steps done and steps in all.

    Raises:
        DatasetError, RunError: as `fit`.
        RunError: the loss was not finite from the start.
    """
    rates: list[float] = []
    losses: list[float] = []
    with quiet():
        _try_rates(
            replace(config, steps=steps, lr=1.0, validate_every=0, devices=1, nodes=1),
            init,
            rates,
            losses,
            progress,
        )
    curve = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if math.isfinite(loss)]
    if len(curve) < _LEAST_STEPS:
        raise RunError("the loss is not finite even at the lowest rates: look at the chips, or at --init")
    return RateCurve(*map(tuple, zip(*curve, strict=True)))


def _try_rates(
    trial: FitConfig, init: Path | None, rates: list[float], losses: list[float], progress: Report
) -> None:
    """Append the rate and the smoothed loss of each step, until the loss explodes."""
    fabric = make_fabric(trial)
    module, untouched = (_module_at(rate, trial, init, fabric) for rate in (_rate_at, _no_rate))
    smooth = _Smooth()
    for batch in crop_loader(trial):
        rates.append(_rate_at(module.step, trial.steps))
        on_device = fabric.to_device(batch)
        for each in (module, untouched):
            each.training_step(on_device)
        losses.append(smooth(_loss(module) / _loss(untouched)))
        progress("rates", module.step, trial.steps)
        if not math.isfinite(losses[-1]) or losses[-1] > _WORSE * min(losses):
            break


def _module_at(
    rate: Callable[[int, int], float], trial: FitConfig, init: Path | None, fabric: Fabric
) -> RestorationModule:
    module = make_module(trial, init, fabric)
    for optimiser in (module.optimiser, module.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["cycle"] = rate
    return module


def _no_rate(_step: int, _steps: int) -> float:
    return 0.0


def _rate_at(step: int, steps: int) -> float:
    low, high = _RATES
    return low * math.pow(high / low, step / max(steps - 1, 1))


def _loss(module: RestorationModule) -> float:
    terms = [value for name, value in module.terms.items() if name not in _NOT_LOSS]
    return float(torch.stack(terms).sum())


class _Smooth:
    """An exponential moving average without the pull toward zero of its first values."""

    def __init__(self) -> None:
        self._mean, self._count = 0.0, 0

    def __call__(self, value: float) -> float:
        self._count += 1
        self._mean = _SMOOTHING * self._mean + (1 - _SMOOTHING) * value
        return self._mean / (1 - _SMOOTHING**self._count)
