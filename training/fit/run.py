"""A training run: data in, weights out, resumable."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor, nn

from sr_model.atomic import write_together
from sr_model.network import ResNetUNet
from sr_model.weights import Weights, load_weights, pack_weights
from training.errors import RunError, StoppedError
from training.fit.checkpoint import FILE as PROGRESS
from training.fit.checkpoint import load_progress, pack_progress, saved_step
from training.fit.config import CONFIG, FitConfig
from training.fit.divergence import LAST as WEIGHTS
from training.fit.divergence import Watch
from training.fit.kinds import untrained_spec
from training.fit.loading import crop_loader, say_nothing
from training.fit.loggers import Lines, Scalars, make_loggers
from training.fit.module import Batch, RestorationModule
from training.fit.stopping import StopRequests
from training.fit.validation import Validate
from training.locks import only_process_in
from training.progress import ProgressBars

AfterStep = Callable[[RestorationModule, Batch], None]

# What Lightning and torch warn of here is meant, or it is their own affair.
_ADVICE: Final = (
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
    ".*Grad strides do not match bucket view strides.*",
    r".*functional\.all_gather is deprecated.*",
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
        """Save, if it is time."""
        if module.step % self._every == 0 or module.step == module.config.steps:
            self.save(module)

    def save(self, module: RestorationModule) -> int:
        """Save both files or neither, and return the step that is saved now."""
        # Before the end, weights that no finite gradient has confirmed do not replace those that have been.
        if int(module.lost) and module.step < module.config.steps:
            return saved_step(self._run)
        for logger in self._fabric.loggers:
            logger.save()
        average = module.average.module.state_dict()
        scaler = self._fabric.strategy.precision.state_dict()
        write_together(
            {
                self._run / WEIGHTS: pack_weights(module.spec, average, dtype=torch.float32),
                self._run / PROGRESS: pack_progress(module.step, *_parts(module), scaler),
            }
        )
        return module.step


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
        DivergedError: numbers are not finite any more; what was saved before stays.
        StoppedError: Ctrl+C or SIGTERM; what was done is saved.
        RunError: another process trains in this folder, `resume` finds no progress or other choices, a fresh run finds
            progress or weights, `init` is another network's, or a device is missing.
    """
    run.mkdir(parents=True, exist_ok=True)
    # Of the processes that train together, one writes.
    with only_process_in(run) if int(getattr(rank_zero_only, "rank", 0)) == 0 else nullcontext():
        done = _check(config, run, resume)
        if done < config.steps:
            with quiet(), compute_threads(config.threads), ProgressBars(console) as bars:
                fabric = make_fabric(config, make_loggers(run, done))
                fabric.launch()
                module = make_module(config, init, fabric)
                if resume:
                    module.step, scaler = load_progress(run, *_parts(module))
                    fabric.strategy.precision.load_state_dict(scaler)
                say = bars.say if fabric.is_global_zero else say_nothing
                loader = crop_loader(config, done=done, rank=fabric.global_rank, say=say)
                calls: list[AfterStep] = [*after_step, Watch(run, every)]
                keep = _Keep(run, fabric, every) if fabric.is_global_zero else None
                if keep:
                    config.write(run / CONFIG)
                    calls += [Lines(bars, every), Scalars(fabric, every)]
                    if config.validate_every:
                        calls.append(Validate(run, module, fabric, resumed=resume, say=bars.say))
                    calls.append(keep)  # last: what the others wrote belongs to what it saves
                _train(fabric, module, loader, calls, keep)
        return load_weights(run / WEIGHTS)


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads; 0 changes nothing."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning from reporting devices, and from advice that is ignored on purpose."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        yield


def _train(
    fabric: Fabric, module: RestorationModule, loader: Any, calls: Sequence[AfterStep], keep: _Keep | None
) -> None:
    """Raises `StoppedError` where a signal asks for it before the last step; what is done is saved then."""
    try:
        with StopRequests() as stop:
            for batch in loader:
                module.training_step(fabric.to_device(batch))
                for call in calls:
                    call(module, batch)
                if module.step < module.config.steps and stop.are_heard(fabric, module.step):
                    saved = keep.save(module) if keep else module.step
                    raise StoppedError(f"step {saved} saved; --resume goes on")
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


def make_module(config: FitConfig, init: Path | None, fabric: Fabric) -> RestorationModule:
    """A run's networks at their start.

    Raises:
        RunError: `init` is another network's, or an encoder cannot be fetched.
    """
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


def make_fabric(config: FitConfig, loggers: Sequence[Logger] = ()) -> Fabric:
    """Devices, strategy and precision of a run."""
    return Fabric(
        devices=config.devices,
        num_nodes=config.nodes,
        # Heads of the discriminator rest in some steps.
        strategy="auto" if config.world == 1 else "ddp_find_unused_parameters_true",
        plugins=precision_plugins(config.precision),
        loggers=list(loggers),
    )


def precision_plugins(name: str) -> list[Any]:
    """Return Fabric's arguments for a precision: `auto` or one of Lightning's names."""
    precision = training_precision(name)
    if precision == "32-true":
        return []
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return [_Autocast(precision, device)]
