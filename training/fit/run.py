"""A training run: data in, weights out, resumable."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightning
import torch
from torch import Tensor, nn

from sr_model.network import ResNetUNet
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights, save_weights
from training.errors import RunError
from training.fit.checkpoint import load_progress, save_progress, saved_step
from training.fit.config import FitConfig
from training.fit.loading import CropData
from training.fit.loggers import Scalars, Watch, make_loggers
from training.fit.module import RestorationModule
from training.fit.validation import Validate

WEIGHTS: Final = "last.safetensors"
CONFIG: Final = "config.json"

# What Lightning and torch warn of here is meant: workers are counted by us, VGG stays in eval mode, heads of the
# discriminator rest in some steps; or it is their own affair.
_ADVICE: Final = (
    ".*does not have many workers.*",
    ".*in eval mode at the start of training.*",
    ".*smaller than the logging interval.*",
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
    ".*Grad strides do not match bucket view strides.*",
)


class _Keep(lightning.Callback):
    """Saves progress and weights every `every` steps and at the end; a resumed run begins from what it saved."""

    def __init__(self, run: Path, every: int, *, resumed: bool) -> None:
        self._run, self._every, self._resumed = run, every, resumed

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Keep the choices beside the weights."""
        if trainer.is_global_zero:
            module.config.write(self._run / CONFIG)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Put back what was saved."""
        if self._resumed:
            module.step, scaler = load_progress(self._run, *_parts(module))
            trainer.precision_plugin.load_state_dict(scaler)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Save, if it is time: each file whole or not at all, the progress last."""
        due = module.step % self._every == 0 or module.step == module.config.steps
        if due and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            save_weights(
                self._run / WEIGHTS, module.spec, module.average.module.state_dict(), dtype=torch.float32
            )
            save_progress(self._run, module.step, *_parts(module), trainer.precision_plugin.state_dict())

    def on_train_end(self, trainer: Any, _module: Any) -> None:
        """Every process finds the weights when it returns."""
        trainer.strategy.barrier()


def _parts(module: RestorationModule) -> tuple[dict[str, Any], dict[str, Any]]:
    network, discriminator = (getattr(o, "optimizer", o) for o in module.optimizers())  # type: ignore[union-attr]
    return _modules(module), {"adam_network": network, "adam_discriminator": discriminator}


def _modules(module: RestorationModule) -> dict[str, Any]:
    return {"network": module.network, "average": module.average, "discriminator": module.discriminator}


def fit(
    config: FitConfig,
    run: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    every: int = 100,
    callbacks: Sequence[lightning.Callback] = (),
) -> Weights:
    """Train, and return the moving average's weights.

    Args:
        config: every choice.
        run: a folder for the weights (`last.safetensors`, `best.safetensors`), progress, metrics and sheets.
        init: weights to start from.
        resume: go on from the run's saved progress.
        every: steps between two savings.
        callbacks: Lightning's, beside ours.

    Raises:
        DatasetError: there is nothing to train on.
        RunError: `resume` finds no progress or other choices, a fresh run finds progress or weights, `init` is another
            network's, or a device is missing.
    """
    run.mkdir(parents=True, exist_ok=True)
    done = _check(config, run, resume)
    if done == config.steps:
        return load_weights(run / WEIGHTS)
    module = _module(config, init)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    watch = Watch(every)
    ours = [
        watch,
        Scalars(every),
        Validate(run, resumed=resume, say=watch.say),
        _Keep(run, every, resumed=resume),  # last: what the others wrote belongs to the progress it saves
    ]
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        trainer = _trainer(config, run, done, [*callbacks, *ours])
        trainer.fit(module, datamodule=CropData(config, done))
    return load_weights(run / WEIGHTS)


def _check(config: FitConfig, run: Path, resume: bool) -> int:
    """Steps that are done; refuse what would spoil a run, or could not be what was asked for."""
    done = saved_step(run)
    if not resume and done:
        raise RunError(f"{run.name} holds a run of {done} steps: go on with --resume, or name another folder")
    if not resume and (run / WEIGHTS).is_file():
        raise RunError(
            f"{run.name} holds weights and no progress of theirs, which this run would replace: name another folder"
        )
    if resume and not done:
        raise RunError(f"{run.name} holds no progress of such a run: start it without --resume")
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


def _module(config: FitConfig, init: Path | None) -> RestorationModule:
    torch.manual_seed(config.seed)
    make = ModelSpec.compact if config.architecture == "compact" else ModelSpec.resnet34
    module = RestorationModule(config, make(gsd_m=config.gsd_m))
    if init:
        start = load_weights(init)
        state = _fitting(start.state, module.network)
        try:
            module.network.load_state_dict(state)
        except RuntimeError as error:
            raise RunError(
                f"--init {init.name} is a {start.spec.architecture} network with {dict(start.spec.config)}, which is "
                f"no start for {config.architecture}: choose --architecture {start.spec.architecture}, or other weights"
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


def _trainer(
    config: FitConfig, run: Path, done: int, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=1,
        precision=training_precision(config.precision),
        devices=config.devices,
        num_nodes=config.nodes,
        # Network and discriminator take turns: in every backward pass the other one's parameters are unused.
        strategy="auto" if config.world == 1 else "ddp_find_unused_parameters_true",
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=make_loggers(run, done),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
