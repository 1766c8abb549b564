"""Train a trained network further by rules: no lines, the old photo's shapes, enough fine detail.

The network is its own teacher (distillation: Hinton et al. 2015): its picture of a chip, put right by the rules, is the
target for the same chip. Both lie exactly on each other, so that neither VGG nor a discriminator is needed, and serving
costs no more than before.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from sr_model.network import build
from sr_model.spec import ModelSpec
from sr_model.weights import Weights
from training.data.augment import draw_grain
from training.errors import RunError
from training.fit.ema import moving_average
from training.fit.module import restore
from training.progress import Report, no_report
from training.refine.chips import CROP_PX, Crops, draw_crops, is_scaled, load_chips
from training.refine.lines import line_finder
from training.refine.options import RefineOptions
from training.refine.rules import back_project, inner, with_detail

_EMA: Final = 0.995


def refine(
    weights: Weights,
    folders: Sequence[Path],
    options: RefineOptions,
    say: Callable[[str], None] = print,
    progress: Report = no_report,
) -> dict[str, Tensor]:
    """Train a network further as `options` ask, and return its weights.

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
    teacher.requires_grad_(False)
    chips = load_chips(folders, options, teacher, spec, say)
    crops = draw_crops(chips, CROP_PX // spec.stride * spec.stride, np.random.default_rng(options.seed))
    lesson = _Lesson(teacher, student, spec, options, chips.period_px)
    for step, drawn in zip(range(options.steps), crops, strict=False):
        lesson.step(step, drawn)
        progress("refine", step + 1, options.steps)
        if (step + 1) % 100 == 0:
            say(lesson.log.line(step + 1))
    return lesson.average.module.state_dict()


class _Lesson:
    """One network taught by another, step by step."""

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        spec: ModelSpec,
        options: RefineOptions,
        period_px: float,
    ) -> None:
        self._teacher, self._student, self._spec, self._options = teacher, student, spec, options
        self._find_lines = line_finder(period_px, options.lines) if options.lines else None
        self._generator = torch.Generator().manual_seed(options.seed)
        self._optimiser = torch.optim.AdamW(student.parameters(), options.lr, (0.9, 0.99), weight_decay=0.0)
        self.average = moving_average(student, _EMA)
        self.log = _Log(options.steps)

    def step(self, step: int, crops: Crops) -> None:
        """Learn from one batch."""
        _set_rate(self._optimiser, step, self._options)
        grain = draw_grain(crops.lined, self._spec.planes - 3, self._generator)
        with torch.no_grad():
            wanted = _target(self._teacher, self._spec, crops, grain, self._options.fidelity)
        wrong = inner(restore(self._student, self._spec, crops.lined, grain) - wanted)
        loss = wrong.square().mean()
        self.log.errors.append(loss.item())
        # Lines have their period only at the chips' own scale.
        if self._find_lines and not is_scaled(step):
            power = self._find_lines(wrong)
            loss = loss + self._options.line_weight * power
            self.log.line_powers.append(power.item())
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._student.parameters(), 1.0)
        self._optimiser.step()
        self.average.update_parameters(self._student)


class _Log:
    """Measurements of each step: mean squared errors and, where lines were looked for, their power."""

    def __init__(self, steps: int) -> None:
        self._steps, self._since = steps, time.monotonic()
        self.errors: list[float] = []
        self.line_powers: list[float] = []

    def line(self, done: int) -> str:
        """Summarise the last hundred steps."""
        missed = 255 * math.sqrt(fmean(self.errors[-100:]))
        lines = f", lines' power {255**2 * fmean(self.line_powers[-60:]):.3f}" if self.line_powers else ""
        spent = time.monotonic() - self._since
        return f"step {done} of {self._steps}, {spent:.0f} s: {missed:.2f} grey levels off{lines}"


def _set_rate(optimiser: torch.optim.Optimizer, step: int, options: RefineOptions) -> None:
    """Set the learning rate: half a cosine, with a linear rise over the first 50 steps."""
    rise, fall = min(1.0, (step + 1) / 50), (1 + math.cos(math.pi * step / options.steps)) / 2
    for group in optimiser.param_groups:
        group["lr"] = options.lr * rise * fall


def _target(teacher: nn.Module, spec: ModelSpec, crops: Crops, grain: Tensor, fidelity: float) -> Tensor:
    return with_detail(
        back_project(restore(teacher, spec, crops.clean, grain), crops.clean, fidelity), crops.gain
    )
