"""A training run: data in, weights out, resumable."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from rich.console import Console
from torch import Tensor, nn

from sr_model.network import ResNetUNet
from sr_model.weights import Weights, load_weights, save_weights
from training.errors import RunError
from training.fit.checkpoint import load_progress, save_progress, saved_step
from training.fit.config import FitConfig
from training.fit.kinds import untrained_spec
from training.fit.loading import crop_loader
from training.fit.loggers import Lines, Scalars, make_loggers
from training.fit.module import Batch, RestorationModule
from training.fit.validation import Validate
from training.progress import ProgressBars

WEIGHTS: Final = "last.safetensors"
CONFIG: Final = "config.json"

AfterStep = Callable[[RestorationModule, Batch], None]

# What Lightning and torch warn of here is meant, or it is their own affair.
_ADVICE: Final = (
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
    ".*Grad strides do not match bucket view strides.*",
)


class _Autocast(MixedPrecision):
    """Half precision where autocast takes it. Fabric's own would round pictures to it before anything sees them."""

    def convert_input(self, data: Any) -> Any:
        return data


class _Keep:
    """Saves progress and weights every `every` steps and at the end."""

    def __init__(self, run: Path, fabric: Fabric, every: int) -> None:
        self._run, self._fabric, self._every = run, fabric, every

    def __call__(self, module: RestorationModule, _batch: Batch) -> None:
        """Save, if it is time: each file whole or not at all, the progress last."""
        if module.step % self._every and module.step != module.config.steps:
            return
        for logger in self._fabric.loggers:
            logger.save()
        average = module.average.module.state_dict()
        save_weights(self._run / WEIGHTS, module.spec, average, dtype=torch.float32)
        precision = self._fabric.strategy.precision
        save_progress(self._run, module.step, *_parts(module), precision.state_dict())


def _parts(module: RestorationModule) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
    """Return everything that a run resumes from, except its step."""
    networks = {
        "network": module.network,
        "average": module.average,
        "discriminator": module.discriminator,
    }
    return networks, {
        "adam_network": module.optimiser,
        "adam_discriminator": module.discriminator_optimiser,
    }


def fit(
    config: FitConfig,
    run: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    every: int = 100,
    after_step: Sequence[AfterStep] = (),
    console: Console | None = None,
) -> Weights:
    """Train, and return the moving average's weights.

    Args:
        config: every choice.
        run: a folder for the weights (`last.safetensors`, `best.safetensors`), progress, metrics and sheets.
        init: weights to start from.
        resume: go on from the run's saved progress.
        every: steps between two savings.
        after_step: called with the module and the batch after each step, on every device.
        console: where the bar is drawn, by default standard error.

    Raises:
        DatasetError: there is nothing to train on, or pairs do not suit the kind of weights.
        RunError: `resume` finds no progress or other choices, a fresh run finds progress or weights, `init` is another
            network's, or a device is missing.
    """
    run.mkdir(parents=True, exist_ok=True)
    done = _check(config, run, resume)
    if done < config.steps:
        with _quiet(), ProgressBars(console) as bars:
            fabric = _fabric(config, run, done)
            fabric.launch()
            module = _module(config, init, fabric)
            if resume:
                module.step, scaler = load_progress(run, *_parts(module))
                fabric.strategy.precision.load_state_dict(scaler)
            loader = crop_loader(config, done=done, rank=fabric.global_rank)
            calls = [*after_step]
            if fabric.is_global_zero:
                config.write(run / CONFIG)
                calls += [Lines(bars, every), Scalars(fabric, every)]
                if config.validate_every:
                    calls.append(Validate(run, module, fabric, resumed=resume, say=bars.say))
                calls.append(
                    _Keep(run, fabric, every)
                )  # last: what the others wrote belongs to what it saves
            _train(fabric, module, loader, calls)
    return load_weights(run / WEIGHTS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from reporting devices, and from advice that is ignored on purpose."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        yield


def _train(fabric: Fabric, module: RestorationModule, loader: Any, calls: Sequence[AfterStep]) -> None:
    try:
        for batch in loader:
            module.training_step(fabric.to_device(batch))
            for call in calls:
                call(module, batch)
    finally:
        for logger in fabric.loggers:
            logger.finalize("")
    fabric.barrier()  # every process finds the weights when it returns


def _check(config: FitConfig, run: Path, resume: bool) -> int:
    """Return the steps that are done; refuse to spoil an existing run, and options that cannot be honoured."""
    done = saved_step(run)
    if not resume and done:
        raise RunError(f"{run.name} holds a run of {done} steps: go on with --resume, or name another folder")
    if not resume and (run / WEIGHTS).is_file():
        raise RunError(
            f"{run.name} holds weights and no progress of theirs, which this run would replace: name another folder"
        )
    if resume and not done:
        raise RunError(f"{run.name} has no saved progress of such a run: start it without --resume")
    if resume and (run / CONFIG).is_file() and (other := config.differences(run / CONFIG)):
        raise RunError(
            f"{run.name} was begun with other choices of {', '.join(other)}: resume it with those of its "
            f"{CONFIG}, or start another run with --init {WEIGHTS}"
        )
    if config.precision == "16-mixed" and not torch.cuda.is_available():
        raise RunError("16-mixed needs an NVIDIA GPU: choose --precision bf16-mixed or 32-true")
    if torch.cuda.is_available() and config.devices > torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise RunError(f"--devices {config.devices}: this machine has {count}, ask for no more than these")
    return done


def _module(config: FitConfig, init: Path | None, fabric: Fabric) -> RestorationModule:
    torch.manual_seed(config.seed)
    module = RestorationModule(config, untrained_spec(config), fabric)
    if init:
        start = load_weights(init)
        state = _fitting(start.state, module.network)
        try:
            module.network.load_state_dict(state)
        except RuntimeError as error:
            raise RunError(
                f"--init {init.name} is a {start.spec.architecture} network with {dict(start.spec.config)}, and cannot "
                f"be the start for {config.architecture}: choose --architecture {start.spec.architecture}, or other "
                "weights"
            ) from error
    elif isinstance(module.network, ResNetUNet) and config.encoder == "imagenet":
        try:
            module.network.load_imagenet()
        except (OSError, RuntimeError) as error:  # no network, or half a file
            raise RunError(
                f"torchvision could not download ResNet-34's weights ({error}): start from others with --init, "
                "or from random ones with --encoder none"
            ) from error
    return module


def _fitting(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of a network without grain for one with it: what reads the grain starts at random."""
    wanted = network.state_dict()
    fitted = dict(state)
    for name, value in state.items():
        if name in wanted and value.ndim == 4 and value.shape[1] + 1 == wanted[name].shape[1]:
            fitted[name] = torch.cat([value, wanted[name][:, -1:]], 1)
    return fitted


def has_bf16_units() -> bool:
    """Whether the CPU multiplies matrices of bfloat16 in units of their own (Intel's AMX, since 2023)."""
    # Not public and not in every torch, but the only one who knows: the kernel must let the process use them as well.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask and ask())


def training_precision(name: str) -> Any:
    """bf16 where the processor or the GPU multiplies in it, else fp32."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if has_bf16_units() else "32-true"


def _fabric(config: FitConfig, run: Path, done: int) -> Fabric:
    return Fabric(
        devices=config.devices,
        num_nodes=config.nodes,
        # Heads of the discriminator rest in some steps.
        strategy="auto" if config.world == 1 else "ddp_find_unused_parameters_true",
        plugins=precision_plugins(config.precision),
        loggers=make_loggers(run, done),
    )


def precision_plugins(name: str) -> list[Any]:
    """Return Fabric's arguments for a precision: `auto` or one of Lightning's names."""
    precision = training_precision(name)
    if precision == "32-true":
        return []
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return [_Autocast(precision, device)]
