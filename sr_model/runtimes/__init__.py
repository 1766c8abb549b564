"""The runtimes of the network: one small protocol, two implementations, and the choice between them."""

from __future__ import annotations

from typing import Literal

from sr_model.errors import RuntimeUnavailableError
from sr_model.runtimes.base import Runtime
from sr_model.spec import SINGLE_IMAGE
from sr_model.weights import Weights

RuntimeName = Literal["auto", "torch", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]

__all__ = ["DeviceName", "Runtime", "RuntimeName", "choose_runtime"]


def choose_runtime(
    weights: Weights,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    *,
    trim_px: int = 0,
    threads: int | None = None,
) -> Runtime:
    """The requested runtime; by default a GPU if there is one, else OpenVINO on the CPU.

    Imported models run on torch everywhere.

    Args:
        weights: the network to load.
        runtime: `torch`, `openvino` (CPU), or `auto`.
        device: `cuda`, `mps`, `cpu`, or `auto`.
        trim_px: width of the border that is left out of results on each side; a multiple of the spec's stride.
        threads: CPU threads; by default one per core.

    Raises:
        RuntimeUnavailableError: the requested device is missing, or the runtime does not support it.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device != "auto" and not available[device]:
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} finds no {device} device here: "
            "install a driver and a matching torch build, or use --device cpu"
        )
    if runtime == "openvino" and device not in ("auto", "cpu"):
        raise RuntimeUnavailableError(
            f"OpenVINO runs on the CPU only: use --runtime torch with --device {device}"
        )
    if weights.spec.architecture == SINGLE_IMAGE:
        if runtime == "openvino":
            raise RuntimeUnavailableError(
                f"{weights.spec.name} is an imported model, whose layers are not known to OpenVINO: "
                "use --runtime torch"
            )
        runtime = "torch"
    if device == "auto":
        gpus = [name for name in ("cuda", "mps") if available[name] and runtime != "openvino"]
        device = gpus[0] if gpus else "cpu"  # type: ignore[assignment]
    if device == "cpu" and runtime != "torch":
        from sr_model.runtimes.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(weights, trim_px=trim_px, threads=threads)
    from sr_model.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(weights, device, trim_px=trim_px, threads=threads)
