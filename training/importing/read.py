"""The tensors of a model's file, read without running anything that the file contains."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sr_model.single_image import unwrapped
from training.errors import ImportRefusedError

# Files that torch writes: pickles, of which only tensors and plain values are taken.
_PICKLED: Final = (".pth", ".pt", ".ckpt")
# More than any model has that is of use here; a window would take minutes.
_MOST_BYTES: Final = 2 << 30


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a super-resolution model, with the names that its authors gave them.

    Args:
        path: a `.safetensors` file, or a `.pth`, `.pt` or `.ckpt` of torch. Of the latter, tensors and plain values are
            read; a file with any other object is refused, and no code in it is run.

    Raises:
        ImportRefusedError: the file is of another kind, too large, damaged, or holds more than tensors.
        RuntimeUnavailableError: spandrel is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *_PICKLED):
        raise ImportRefusedError(
            f"{path.name} is neither .safetensors nor {', '.join(_PICKLED)}: fetch the model in one of these forms"
        )
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ImportRefusedError(
            f"{path.name} has {size / 2**30:.1f} GiB, and models of up to {_MOST_BYTES >> 30} GiB are imported: "
            "use a smaller model, or a file without the state of its training"
        )
    document = _load_safetensors(path) if suffix == ".safetensors" else _unpickled(path)
    if not isinstance(document, dict):
        raise ImportRefusedError(f"{path.name} holds a {type(document).__name__}, not the tensors of a model")
    # A copy of each: parts of one tensor, which some files hold, cannot be written again.
    state = {name: value.detach().clone() for name, value in unwrapped(document).items()}
    if not state:
        raise ImportRefusedError(f"{path.name} holds no tensors: it is not a model's file")
    return state


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ImportRefusedError(
            f"{path.name} is not a readable safetensors file ({error}): fetch it again"
        ) from error


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of files that do not come from torch: whether they can be read is what counts.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ImportRefusedError(
            f"{path.name} holds more than tensors, which is not read since it could run code, or it is damaged: "
            "ask for the model as .safetensors, or fetch it again"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ImportRefusedError(
            f"{path.name} is not a readable file of torch ({type(error).__name__}): fetch it again, "
            "or ask for the model as .safetensors"
        ) from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
