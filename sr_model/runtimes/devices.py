"""Which device runs the network: a GPU where torch finds one, else the CPU.

torch takes seconds to import, and does not have to be installed. So it is asked only where a driver shows that there
may be a GPU.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path
from typing import Final, Literal

from sr_model.errors import RuntimeUnavailableError
from sr_model.installed import has_torch, import_torch

logger = logging.getLogger("orthosharp")

DeviceName = Literal["auto", "cpu", "cuda", "mps"]

# The libraries that NVIDIA's drivers install, on Linux and on Windows; the device of AMD's, which torch calls cuda too.
_NVIDIA: Final = ("libcuda.so.1", "nvcuda.dll")
_AMD: Final = Path("/dev/kfd")


def choose_device(device: DeviceName = "auto") -> str:
    """`cuda`, `mps` or `cpu`.

    Args:
        device: the one that was asked for; `auto` is a GPU if there is one that torch can use.

    Raises:
        RuntimeUnavailableError: the one that was asked for is missing, or torch, which it needs, is not installed.
    """
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return "cpu"
    if device == "auto" and not has_torch():
        logger.warning(
            "there seems to be a GPU here, and the network runs on the CPU: pip install 'orthosharp[torch]' to use it, "
            "or give --device cpu"
        )
        return "cpu"
    torch = import_torch(f"--device {device}")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, is_there in available.items() if is_there), "cpu")
    if not available[device]:
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} finds no {device} device here: "
            "install a driver and a matching torch build, or use --device cpu"
        )
    return device


def may_have_gpu() -> bool:
    """Whether a driver is installed that torch can use; whether there is a GPU too, torch finds out."""
    if sys.platform == "darwin" or _AMD.exists():
        return True
    for name in _NVIDIA:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
