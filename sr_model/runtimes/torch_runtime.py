"""torch: CUDA in half precision; Apple's MPS, and the CPU on request, in single."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sr_model import tensor_binding, tensors
from sr_model.binding import bind_colours, network_trim_px
from sr_model.errors import InferenceError
from sr_model.machine import quota_cores
from sr_model.network_layers import fold_shuffles
from sr_model.photo import PhotoContext
from sr_model.pixels import Float32Array, UInt8Array, check_finite, correct, normalise
from sr_model.weights import Weights

logger = logging.getLogger("orthosharp")
Array = TypeVar("Array", bound=npt.NDArray[Any])

# Enough to fill a large GPU with windows of a metatile's size; smaller ones find out at the warm-up.
_CUDA_BATCH: Final = 8
# While one batch is on the GPU, the next is put together.
_CUDA_CALLERS: Final = 2


class TorchRuntime:
    """Eager torch in channels-last; half precision on CUDA, where it was measured.

    No CUDA graph and no torch.compile: on an H100, eight windows of the compact network take 8.5 ms eagerly, 8.3 as a
    graph and 5.6 compiled (ResNet-34: 42, 42 and 20), while sixteen cores read and encode 30 megapixels a second, which
    is a third of a second for as many: the network is not the bottleneck (docs/benchmarks.md). cuDNN does not try
    algorithms out either: two processes could then choose different ones, and one tile would have different bytes.
    """

    def __init__(
        self, weights: Weights, device: str, *, trim_px: int = 0, threads: int | None = None
    ) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        # torch sees affinity, but not the quota of a container.
        threads = threads or quota_cores()
        if threads and self._device.type == "cpu":
            torch.set_num_threads(threads)
        network = fold_shuffles(weights.network())
        half = self._cuda and network.supports_half
        self._dtype = torch.float16 if half else torch.float32
        network = network.to(self._device, self._dtype)
        self._network = network.to(memory_format=torch.channels_last).requires_grad_(False)
        self._spec = weights.spec
        self._trim_px = trim_px
        # The largest batch after one that did not fit.
        self._fits: int | None = None
        self.name = f"torch {self._device} {'fp16' if half else 'fp32'} {network.library}".rstrip()
        self.callers = _CUDA_CALLERS if self._cuda else 1

    @property
    def batch(self) -> int:
        """See `Runtime.batch`."""
        wanted = _CUDA_BATCH if self._cuda else 1
        return min(wanted, self._fits or wanted)

    def forward(self, planes: Float32Array) -> Float32Array:
        """See `Runtime.forward`; a batch that does not fit into the GPU's memory is split."""
        return self._in_parts(lambda part, _: self._forward(part), planes)

    def restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        """See `Runtime.restore`; a batch that does not fit into the GPU's memory is split."""
        return self._in_parts(lambda part, at: self._restore(part, photos[at : at + len(part)]), rgb)

    def _in_parts(self, work: Callable[[Array, int], Array], windows: Array) -> Array:
        """Pass all windows through `work`, as many at once as fit; the number is remembered for later batches."""
        done: list[Array] = []
        at = 0
        while at < len(windows):
            part = cast(Array, windows[at : at + (self._fits or len(windows))])
            try:
                done.append(work(part, at))
                at += len(part)
                continue
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise InferenceError(
                        f"a window of {list(windows.shape[1:])} does not fit into the GPU's memory: free some, "
                        "or use --device cpu"
                    ) from error
            except RuntimeError as error:
                raise InferenceError(
                    f"torch failed on a window of {list(part.shape)}: see the log"
                ) from error
            # Outside the handler, whose traceback holds the tensors that filled the memory.
            self._fits = max(1, len(part) // 2)
            logger.warning(
                "%d windows do not fit into the GPU's memory: from now on %d go together",
                len(part),
                self._fits,
            )
            torch.cuda.empty_cache()
        return done[0] if len(done) == 1 else np.concatenate(done)  # type: ignore[return-value]

    def _forward(self, planes: Float32Array) -> Float32Array:
        with torch.inference_mode():
            output: Float32Array = self._infer(self._to_device(planes)).float().cpu().numpy()
            return output

    def _restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        if not self._cuda:
            # Apple's GPUs share the memory with the CPU.
            seen_planes = normalise(rgb, self._spec)
            added = self._forward(seen_planes)
            if self._spec.colours == "photo":
                return bind_colours(seen_planes, added, self._spec, photos, self._trim_px)
            return correct(rgb, added, self._spec)
        with torch.inference_mode():
            # Only bytes cross the bus, and the CPU prepares no pixels.
            seen = self._to_device(rgb)
            planes = tensors.normalise(seen, self._spec)
            correction = self._infer(planes)
            if self._spec.colours == "photo":
                pixels, finite = tensor_binding.bind_colours(
                    planes, correction, self._spec, photos, self._trim_px
                )
            else:
                pixels, finite = tensors.correct(seen, correction, self._spec)
            restored = self._to_host(pixels)
        check_finite(bool(finite.item()))
        return restored

    def _infer(self, planes: Tensor) -> Tensor:
        channels_last = planes.to(self._dtype, memory_format=torch.channels_last)
        return self._network.correction(channels_last, network_trim_px(self._spec, self._trim_px))

    def _to_device(self, array: npt.NDArray[Any]) -> Tensor:
        """Copy through pinned memory, from which the GPU fetches by itself; torch keeps and reuses such buffers."""
        host = torch.from_numpy(np.ascontiguousarray(array))
        if self._cuda:
            return host.pin_memory().to(self._device, non_blocking=True)
        return host.to(self._device)

    def _to_host(self, pixels: Tensor) -> UInt8Array:
        host = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
        host.copy_(pixels, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        # Copied, so that crops which caches keep do not hold a batch of pinned memory.
        return host.numpy().copy()
