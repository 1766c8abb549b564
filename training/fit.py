"""A training run: data in, weights out, resumable."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any, Final

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from sr_model.network import ResNetUNet
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights, save_weights
from training.config import FitConfig
from training.dataset import CropDataset, load_pairs, load_sharp
from training.module import RestorationModule
from training.progress import load_progress, save_progress

WEIGHTS: Final = "last.safetensors"
CONFIG: Final = "config.json"

# What Lightning warns of here is meant: one worker keeps up, VGG stays in eval mode, the rest is its own affair.
_LIGHTNINGS_ADVICE: Final = (
    ".*does not have many workers.*",
    ".*in eval mode at the start of training.*",
    ".*smaller than the logging interval.*",
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
)


class _From(Sampler[int]):
    """Items in order from `start`: a resumed run goes on with the item after its last one."""

    def __init__(self, start: int, stop: int) -> None:
        self._range = range(start, stop)

    def __iter__(self) -> Any:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


class _Keep(lightning.Callback):
    """Saves progress and weights every `every` steps and at the end, and prints a plain line."""

    def __init__(self, run: Path, every: int) -> None:
        self._run, self._every, self._since = run, every, time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.step % self._every == 0 or module.step == module.config.steps:
            self.save(module)
            shown = {k.removeprefix("loss/"): f"{float(v):.3f}" for k, v in trainer.callback_metrics.items()}
            rate = self._every / (time.monotonic() - self._since)
            self._since = time.monotonic()
            terms = " ".join(f"{name} {value}" for name, value in shown.items())
            print(f"step {module.step}/{module.config.steps} {rate:.2f}/s {terms}", flush=True)  # noqa: T201

    def save(self, module: RestorationModule) -> None:
        """Both files, each whole or not at all."""
        save_weights(self._run / WEIGHTS, module.spec, module.average.state_dict(), dtype=torch.float32)
        save_progress(self._run, module.step, *_parts(module))


def _parts(module: RestorationModule) -> tuple[dict[str, Any], dict[str, Any]]:
    network, discriminator = (getattr(o, "optimizer", o) for o in module.optimizers())  # type: ignore[union-attr]
    return _modules(module), {"adam_network": network, "adam_discriminator": discriminator}


class _Resume(lightning.Callback):
    def __init__(self, run: Path) -> None:
        self._run = run

    def on_train_start(self, _trainer: Any, module: Any) -> None:
        module.step = load_progress(self._run, *_parts(module))


def _precision(name: str) -> Any:
    """bf16 where the processor or the GPU multiplies in it, else fp32."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"


def fit(
    config: FitConfig, run: Path, *, init: Path | None = None, resume: bool = False, every: int = 100
) -> Weights:
    """Train, and return the moving average's weights.

    Args:
        config: every choice.
        run: a folder for `config.json`, `last.safetensors`, progress and metrics.
        init: weights to start from.
        resume: go on from the run's saved progress.
        every: steps between two savings.

    Raises:
        DatasetError: there is nothing to train on.
        RunError: `resume` finds no progress.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    make = ModelSpec.compact if config.architecture == "compact" else ModelSpec.resnet34
    module = RestorationModule(config, make(gsd_m=config.gsd_m))
    if init:
        state = _fitting(load_weights(init).state, module.network)
        module.network.load_state_dict(state)
        module.average.load_state_dict(state)
    elif isinstance(module.network, ResNetUNet):
        module.network.load_imagenet()
    done = int(load_progress(run, _modules(module), {})) if resume else 0
    config.write(run / CONFIG)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in _LIGHTNINGS_ADVICE:
            warnings.filterwarnings("ignore", message=message)
        _trainer(config, run, every, done if resume else None).fit(module, _loader(config, done))
    return load_weights(run / WEIGHTS)


def _fitting(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of a network without grain for one with it: what reads the grain starts at random."""
    wanted = network.state_dict()
    fitted = dict(state)
    for name, value in state.items():
        if name in wanted and value.ndim == 4 and value.shape[1] + 1 == wanted[name].shape[1]:
            fitted[name] = torch.cat([value, wanted[name][:, -1:]], 1)
    return fitted


def _modules(module: RestorationModule) -> dict[str, Any]:
    return {"network": module.network, "average": module.average, "discriminator": module.discriminator}


def _trainer(config: FitConfig, run: Path, every: int, resumed_at: int | None) -> lightning.Trainer:
    callbacks: list[lightning.Callback] = [_Keep(run, every)]
    return lightning.Trainer(
        max_epochs=1,
        precision=_precision(config.precision),
        callbacks=callbacks if resumed_at is None else [_Resume(run), *callbacks],
        logger=CSVLogger(run, name="metrics", version=f"from_{resumed_at or 0}"),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=20,
    )


def _loader(config: FitConfig, done: int) -> DataLoader[Any]:
    source_px = round(config.crop_px * config.scale_range[1])
    dataset = CropDataset(
        load_pairs([Path(folder) for folder in config.pairs], "train"),
        load_sharp(config.degrade),
        crop_px=source_px,
        length=config.steps * config.batch,
        aged_share=config.aged_share,
        seed=config.seed,
    )
    sampler = _From(done * config.batch, config.steps * config.batch)
    return DataLoader(dataset, config.batch, sampler=sampler, num_workers=1, prefetch_factor=4)
