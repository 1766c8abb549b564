"""Choices of `fit` whose defaults depend on the machine, on the weights to start from, or on the run that goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from training.errors import RunError
from training.fit.config import CONFIG, OWN_TEXTURE
from training.processors import free_processors


def parse_own_texture(text: str) -> tuple[float, float]:
    """`0.15,0.5` to (0.15, 0.5), `0.2` to (0.2, 0.2)."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) not in (1, 2) or not all(0 <= share <= 1 for share in shares):
        raise click.BadParameter(f"{text!r} is not one or two shares between 0 and 1, such as 0.15,0.5")
    return shares[0], shares[-1]


def saved_choices(run: Path, *, resume: bool) -> dict[str, Any] | None:
    """The choices of the run that goes on, None where a fresh one begins."""
    if not resume or not (run / CONFIG).is_file():
        return None
    choices: dict[str, Any] = json.loads((run / CONFIG).read_text())
    return choices


def choose_threads(wanted: int, saved: dict[str, Any] | None, devices: int) -> int:
    """As many as processors are free: with fewer, threads would wait for one that others have.

    A run that goes on keeps its number, on which the last bits of its numbers depend.
    """
    if wanted or saved is not None:
        return wanted or int((saved or {}).get("threads", 0))
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else max(1, free_processors() // devices)


def choose_own_texture(
    wanted: tuple[float, float] | None, saved: dict[str, Any] | None, init: Path | None, colours: str
) -> tuple[float, float]:
    """The shares that were asked for, those of the run that goes on, of the weights to start from, or the bundled ones.

    Raises:
        RunError: they were asked for, and the weights are to translate colours.
    """
    if colours != "photo":
        if wanted is not None:
            raise RunError("--own-texture is for --colours photo: leave it out, or choose these colours")
        return OWN_TEXTURE
    if wanted is not None:
        return wanted
    if saved is not None:
        everywhere, in_woods = saved.get("own_texture", (0.0, 0.0))
        return float(everywhere), float(in_woods)
    if init is not None:
        from sr_model.weights import load_weights

        spec = load_weights(init).spec
        if spec.keeps_texture:
            return spec.own_texture, spec.own_texture_in_woods
    return OWN_TEXTURE


def choose_start_networks(saved: dict[str, Any] | None, init: Path | None) -> tuple[str, ...]:
    """Networks in the loss of the weights to start from, or those that the run that goes on has noted."""
    if saved is not None:
        return tuple(saved.get("start_networks", ()))
    if init is None:
        return ()
    from sr_model.weights import load_weights
    from training.evaluate.judge import loss_networks_of

    return loss_networks_of(init, load_weights(init).spec) or ()


def check_devices(devices: int) -> None:
    """Refuse several devices where there is no GPU, unless torchrun has started a process for each.

    Raises:
        RunError: there is none.
    """
    import torch

    if devices > 1 and not torch.cuda.is_available() and not torch.distributed.is_torchelastic_launched():
        raise RunError(
            f"--devices {devices}: this machine has no NVIDIA GPU, and one process uses all of its processors "
            "(--threads): leave --devices out, or start the processes with torchrun"
        )
