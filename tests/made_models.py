"""Small super-resolution models of a known architecture with made weights, as their authors would share them."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.SwinIR import SwinIR
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


def swinir_state() -> dict[str, Tensor]:
    """The tensors of a small SwinIR, which looks at pixels in squares of 8, shifted by half of them in turn."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "window_size": 8, "mlp_ratio": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SwinIR(img_size=64, upscale=2, img_range=1.0, upsampler="pixelshuffle", **sizes)
    # Attention of fresh weights is nearly even: made stronger, it shows where the squares lie.
    return {
        name: (1.5 * value if value.is_floating_point() and value.ndim > 1 else value).clone()
        for name, value in model.state_dict().items()
    }


def write_model(path: Path, scale: int = 2, **kind: float) -> Path:
    """A `.safetensors` file with such tensors."""
    save_file(compact_state(scale, **kind), path)  # type: ignore[arg-type]
    return path
