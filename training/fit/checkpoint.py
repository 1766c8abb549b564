"""A run's progress as safetensors, no pickle: networks, moving average, optimisers' moments and the step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training.errors import RunError

FILE: Final = "progress.safetensors"


def _flatten(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, own in state.items()
        for name, value in own.items()
    }


def pack_progress(
    step: int,
    modules: dict[str, nn.Module],
    optimisers: dict[str, torch.optim.Optimizer],
    scaler: dict[str, Any],
) -> bytes:
    """The content of `FILE`: the whole state of a run; `scaler` is that of fp16, empty without it."""
    tensors = {
        f"{key}/{name}": value
        for key, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for key, optimiser in optimisers.items():
        tensors |= _flatten(optimiser, f"{key}/state")
    # A clone each: tensors that share memory cannot be stored.
    stored = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(stored, {"step": str(step), "scaler": json.dumps(scaler)})


def saved_step(run: Path) -> int:
    """Steps that a run has done and saved, 0 where there is none."""
    try:
        with safe_open(run / FILE, framework="pt") as file:
            return int(file.metadata()["step"])
    except (SafetensorError, OSError, KeyError, TypeError):
        return 0


def load_progress(
    run: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]
) -> tuple[int, dict[str, Any]]:
    """Put a saved state back and return its step and fp16's scaler.

    Raises:
        RunError: there is none, or it belongs to another network.
    """
    try:
        with safe_open(run / FILE, framework="pt") as file:
            metadata = file.metadata()
            step, scaler = int(metadata["step"]), json.loads(metadata.get("scaler", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        for key, module in modules.items():
            start = f"{key}/"
            module.load_state_dict(
                {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            )
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.name} has no saved progress of such a run: start it without --resume"
        ) from error
    for key, optimiser in optimisers.items():
        _restore(optimiser, {n: t for n, t in tensors.items() if n.startswith(f"{key}/state.")})
    return step, scaler


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        _, index, field = name.rsplit(".", 2)
        parameter = parameters[int(index)]
        # In the parameter's own layout: a step over two layouts takes several times as long.
        kept = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(int(index), {})[field] = kept.detach()
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
