"""What a run will do, decided and told before it starts: chips, steps, time and disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from sr_model.shipped import bundled_weights_path
from sr_model.weights import load_weights
from training.data.ageing import Ageing
from training.errors import RunError
from training.evaluate.judge import BUNDLED_LOSS
from training.fit.config import HALF_SCALE_GRID, FitConfig, LossWeights
from training.pairs.grid import Common, common_ground
from training.pairs.traits import measure_traits
from training.pairs.trial import seconds_per_chip
from training.processors import free_processors
from training.progress import time_in_words
from training.site.chips import SIZES_PX, plan_for, resized
from training.site.options import NIGHT_H, SiteOptions
from training.site.trial import Speed, measure_speed

# Chips of the kept block that are scored at most.
MOST_SCORED: Final = 32
# More steps from trained weights on one site teach little more, and fewer nothing.
_MOST_STEPS: Final = 3000
_LEAST_STEPS: Final = 20
# Crops per step: as many as a processor or a GPU takes well.
_BATCH, _BATCH_OF_A_GPU = 8, 32
# The weights are good already: they learn at a quarter of the usual rate.
_LR: Final = 1e-4
# The moving average reaches over this share of the run.
_AVERAGED: Final = 0.1
_AGED_SHARE: Final = 0.5
_LOOKS: Final = 8
# Seconds between two savings, about; a kill costs no more than that.
_SAVED_EVERY_S: Final = 60.0
# As multiples of the time in which a chip is restored: a look at twelve chips, and the whole evaluation of one.
_LOOK: Final = 64
_SCORED: Final = 60
# Compressed, a chip takes this share of its pixels; the rest are weights, reports and sheets.
_PNG_SHARE: Final = 0.7
_BESIDE_BYTES: Final = 60_000_000


@dataclass(frozen=True)
class SitePlan:
    """The numbers of a run.

    Attributes:
        gsd_m: pixel size of the chips.
        old_gsd_m, new_gsd_m, resolved_gsd_m: pixel sizes of the photographs, and what the old one resolves.
        size_px, step_px, max_shift_m: of the chips.
        chips, kept: how many there are in all, before some are dropped, and for validation.
        steps, every, look_every, batch: of training, its savings and its looks at the kept block.
        pairs_s, step_s, evaluation_s, training_s: seconds that the parts will take; training with its looks.
        disk_bytes: that the run's folder will take.
        old_traits, new_traits: blur, unsharp mask and grain of the photographs.
    """

    gsd_m: float
    old_gsd_m: float
    new_gsd_m: float
    resolved_gsd_m: float
    size_px: int
    step_px: int
    max_shift_m: float
    chips: int
    kept: int
    steps: int
    every: int
    look_every: int
    batch: int
    pairs_s: float
    step_s: float
    training_s: float
    evaluation_s: float
    disk_bytes: int
    old_traits: dict[str, Any]
    new_traits: dict[str, Any]

    @property
    def total_s(self) -> float:
        """Seconds of the whole run."""
        return self.pairs_s + self.training_s + self.evaluation_s

    def sentences(self, free_bytes: int) -> list[str]:
        """What is told before the run starts."""
        return [
            f"chips: {self.chips} of {self.size_px} px at {self.gsd_m:.3g} m, one every {self.step_px} px, of which "
            f"{self.kept} are kept for the comparison",
            f"the old photo's pixels are {self.old_gsd_m:.3g} m and it resolves {self.resolved_gsd_m:.3g} m: "
            f"new chips are aged by as much",
            f"time: about {time_in_words(self.total_s)}: pairs {time_in_words(self.pairs_s)}, training "
            f"{self.steps} steps of {self.step_s:.2g} s {time_in_words(self.training_s)}, comparison "
            f"{time_in_words(self.evaluation_s)}; a stopped run goes on with the same command",
            f"disk: about {self.disk_bytes / 1e6:.0f} MB, {free_bytes / 1e9:.1f} GB are free",
        ]


def make_plan(options: SiteOptions) -> SitePlan:
    """Look at both photographs, try this machine for some seconds, and decide.

    Raises:
        PairError: the photographs make no pairs.
        RunError: the time that is given does not suffice.
    """
    common = site_ground(options, None, SIZES_PX[-1], 1)
    new_gsd_m = common.grid.gsd_m
    old_traits = measure_traits(options.old, common.old)
    new_traits = measure_traits(options.new, common.new)
    old_gsd_m = common.grid.old_gsd_m
    resolved_gsd_m = old_gsd_m * old_traits.resolved_px
    # The bundled network draws no finer than this, and is to be compared on the same pixels.
    gsd_m = max(new_gsd_m, resolved_gsd_m / load_weights(bundled_weights_path()).spec.ratio_range[1])
    if gsd_m > new_gsd_m:
        common = site_ground(options, gsd_m, SIZES_PX[-1], 1)
    chips = plan_for(common.grid, options.validation)
    sized = replace(common, grid=resized(common.grid, chips.size_px, chips.step_px))
    count = chips.train + chips.validation
    pair_s = seconds_per_chip(options.old, options.new, sized, chips.max_shift_m) / free_processors()
    batch = _BATCH_OF_A_GPU if torch.cuda.is_available() else _BATCH
    tried = base_config(options, gsd_m, steps=_MOST_STEPS, batch=batch, pairs=())
    speed = measure_speed(tried, chips.size_px)
    scored = min(chips.validation, MOST_SCORED)
    evaluation_s = scored * _SCORED * speed.restore_s
    looks_s = _LOOKS * _LOOK * speed.restore_s
    steps = choose_steps(options, speed, count * pair_s + looks_s + evaluation_s)
    side_bytes = 3 * chips.size_px**2 * _PNG_SHARE
    return SitePlan(
        gsd_m=gsd_m,
        old_gsd_m=old_gsd_m,
        new_gsd_m=new_gsd_m,
        resolved_gsd_m=resolved_gsd_m,
        size_px=chips.size_px,
        step_px=chips.step_px,
        max_shift_m=chips.max_shift_m,
        chips=count,
        kept=chips.validation,
        steps=steps,
        every=max(1, min(round(_SAVED_EVERY_S / speed.step_s), steps // 4 or 1)),
        look_every=max(1, steps // _LOOKS),
        batch=batch,
        pairs_s=count * pair_s,
        step_s=speed.step_s,
        training_s=steps * speed.step_s + looks_s,
        evaluation_s=evaluation_s,
        disk_bytes=int(2 * count * side_bytes) + _BESIDE_BYTES,
        old_traits=asdict(old_traits),
        new_traits=asdict(new_traits),
    )


def choose_steps(options: SiteOptions, speed: Speed, other_s: float) -> int:
    """As many steps as were asked for, or as fit into the hours; without either, enough or a night.

    Raises:
        RunError: not even the other parts fit.
    """
    if options.steps is not None:
        return options.steps
    left_s = (options.hours or NIGHT_H) * 3600 - other_s
    steps = int(left_s / speed.step_s)
    if steps < _LEAST_STEPS:
        if options.hours is None:
            return _LEAST_STEPS
        needed_s = other_s + _LEAST_STEPS * speed.step_s
        raise RunError(
            f"--hours {options.hours:g}: pairs and comparison alone take {time_in_words(other_s)}, and "
            f"{_LEAST_STEPS} steps more: give {needed_s / 3600:.2g} or more"
        )
    return min(steps, _MOST_STEPS)


def site_ground(options: SiteOptions, gsd_m: float | None, size_px: int, step_px: int) -> Common:
    """The ground that both photographs show."""
    return common_ground(
        options.old, options.new, gsd_m, size_px, step_px, (options.read_old, options.read_new)
    )


def base_config(
    options: SiteOptions,
    gsd_m: float,
    *,
    steps: int,
    batch: int,
    pairs: tuple[str, ...],
    ageing: Ageing | None = None,
    look_every: int = 0,
) -> FitConfig:
    """The choices of the training run.

    Its loss uses no network's features; that of the bundled weights, from which it starts, did.
    """
    start = load_weights(bundled_weights_path()).spec
    return FitConfig(
        pairs=pairs,
        architecture=start.architecture,
        colours=options.colours,
        gsd_m=gsd_m if options.colours == "network" else 0.0,
        steps=steps,
        batch=batch,
        aged_share=_AGED_SHARE,
        ageing=ageing,
        lr=_LR,
        ema=min(0.999, 1 - 1 / max(2.0, _AVERAGED * steps)),
        seed=options.seed,
        threads=options.threads,
        own_texture=(start.own_texture, start.own_texture_in_woods),
        validate_every=look_every,
        loss=replace(LossWeights.of_pixels(), grid=HALF_SCALE_GRID),
        start_networks=BUNDLED_LOSS,
    )


def check_disk(plan: SitePlan, run: Path, say: Callable[[str], None]) -> None:
    """Tell the plan; refuse a disk that is too small for it.

    Raises:
        RunError: it is.
    """
    free = shutil.disk_usage(run).free
    for sentence in plan.sentences(free):
        say(sentence)
    held = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    if free + held < plan.disk_bytes:
        raise RunError(
            f"{run.name} needs {plan.disk_bytes / 1e6:.0f} MB and {free / 1e6:.0f} MB are free: free space, or "
            "name a folder on another disk with --run"
        )
