"""The runtimes of the network: one small protocol, two implementations, and the choice between them."""

from __future__ import annotations

from typing import Literal

from sr_model.errors import RuntimeUnavailableError
from sr_model.installed import import_torch
from sr_model.runtimes.base import Runtime
from sr_model.runtimes.devices import DeviceName, choose_device
from sr_model.spec import SINGLE_IMAGE
from sr_model.weights import Weights

RuntimeName = Literal["auto", "torch", "openvino", "openvino-int8"]

__all__ = ["DeviceName", "Runtime", "RuntimeName", "choose_runtime", "load_runtime"]


def load_runtime(runtime: RuntimeName) -> None:
    """Import the library that `choose_runtime` will need, if that is known without asking for devices.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """
    if runtime != "torch":
        from sr_model.runtimes.openvino_runtime import load_openvino

        load_openvino()


def choose_runtime(
    weights: Weights,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    *,
    trim_px: int = 0,
    threads: int | None = None,
) -> Runtime:
    """The requested runtime; by default a GPU if there is one that torch can use, else OpenVINO on the CPU.

    Imported models run on torch everywhere.

    Args:
        weights: the network to load.
        runtime: `torch`, `openvino` (CPU), `openvino-int8` (the same in integers of 8 bits), or `auto`, which is
            `openvino-int8` for the bundled architecture where that is faster: on processors with VNNI or AVX2 alone, and
            without bfloat16.
        device: `cuda`, `mps`, `cpu`, or `auto`.
        trim_px: width of the border that is left out of results on each side; a multiple of the spec's stride.
        threads: CPU threads; by default one per core.

    Raises:
        RuntimeUnavailableError: the requested device is missing, the runtime does not support it, or torch is needed
            and is not installed.
    """
    is_openvino = runtime.startswith("openvino")
    if is_openvino and device not in ("auto", "cpu"):
        raise RuntimeUnavailableError(
            f"OpenVINO runs on the CPU only: use --runtime torch with --device {device}"
        )
    if weights.spec.architecture == SINGLE_IMAGE:
        if is_openvino:
            raise RuntimeUnavailableError(
                f"{weights.spec.name} is an imported model, whose layers are not known to OpenVINO: "
                "use --runtime torch"
            )
        runtime = "torch"
    if runtime == "torch":
        import_torch(f"--runtime torch, which {weights.spec.name} runs on,")
    chosen = "cpu" if is_openvino else choose_device(device)
    if chosen == "cpu" and runtime != "torch":
        from sr_model.runtimes.openvino_runtime import OpenVinoRuntime

        eight_bits = True if runtime == "openvino-int8" else None if runtime == "auto" else False
        return OpenVinoRuntime(weights, trim_px=trim_px, threads=threads, eight_bits=eight_bits)
    from sr_model.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(weights, chosen, trim_px=trim_px, threads=threads)
