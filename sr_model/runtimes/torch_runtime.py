"""torch: CUDA in half precision, Apple's MPS, or the CPU."""

from __future__ import annotations

import numpy as np
import torch

from sr_model.errors import InferenceError
from sr_model.network import fold_shuffles
from sr_model.pixels import Float32Array
from sr_model.weights import Weights


class TorchRuntime:
    """Eager torch in channels-last; half precision on CUDA only, where it is both faster and well tested."""

    def __init__(self, weights: Weights, device: str, *, threads: int | None = None) -> None:
        self._device = torch.device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        if threads and self._device.type == "cpu":
            torch.set_num_threads(threads)
        network = fold_shuffles(weights.network()).to(self._device, self._dtype)
        self._network = network.to(memory_format=torch.channels_last).requires_grad_(False)
        precision = "fp16" if self._dtype is torch.float16 else "fp32"
        self.name = f"torch {self._device} {precision}"

    def forward(self, planes: Float32Array) -> Float32Array:
        """See `Runtime.forward`; a batch that does not fit into the GPU's memory is halved and tried again."""
        try:
            return self._run(planes)
        except torch.OutOfMemoryError as error:
            if len(planes) == 1:
                raise InferenceError(
                    f"a window of {planes.shape[2]} x {planes.shape[3]} px does not fit into the GPU's memory: "
                    "free some, or use --device cpu"
                ) from error
        torch.cuda.empty_cache()
        half = len(planes) // 2
        return np.concatenate([self.forward(planes[:half]), self.forward(planes[half:])])

    def _run(self, planes: Float32Array) -> Float32Array:
        try:
            with torch.inference_mode():
                batch = torch.from_numpy(planes).to(
                    self._device, self._dtype, memory_format=torch.channels_last
                )
                output: Float32Array = self._network(batch).float().cpu().numpy()
                return output
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InferenceError(f"torch failed on a window of {list(planes.shape)}: see the log") from error
