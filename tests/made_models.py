"""Small super-resolution models of a known architecture with made weights, as their authors would share them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from torch import Tensor


def compact_state(
    scale: int = 2, *, strength: float = 1.0, bands: int = 3, seed: int = 3
) -> dict[str, Tensor]:
    """The tensors of a small Compact network; with a strength of 0 it repeats each pixel, and nothing else."""
    torch.manual_seed(seed)
    model = Compact(num_in_ch=bands, num_out_ch=bands, num_feat=12, num_conv=2, upscale=scale)
    last = f"body.{len(model.body) - 1}"
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return {name: strength * value if name.startswith(last) else value for name, value in state.items()}


def write_model(path: Path, scale: int = 2, **kind: float) -> Path:
    """A `.safetensors` file with such tensors."""
    save_file(compact_state(scale, **kind), path)  # type: ignore[arg-type]
    return path
