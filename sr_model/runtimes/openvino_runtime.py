"""OpenVINO on the CPU, in bfloat16 where the CPU multiplies it natively, or in integers of 8 bits."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sr_model.binding import bind_colours, network_trim_px
from sr_model.errors import InferenceError, RuntimeUnavailableError
from sr_model.graph import openvino_correction, ranges_of
from sr_model.interrupts import is_interrupt
from sr_model.machine import multiplies_bytes_faster, quota_cores
from sr_model.photo import PhotoContext
from sr_model.pixels import Float32Array, UInt8Array, correct, normalise
from sr_model.weights import Weights

_DEVICE: Final = "CPU"
# Of the bundled networks, whose pictures in integers of 8 bits were compared with those in float32.
_MEASURED: Final = "half_scale"
# Layers that stay prepared for one size of window each: enough for the few sizes that a server uses. By default there
# are 5000, and windows of ever new sizes took megabytes each.
_PREPARED_LAYERS: Final = 256


class OpenVinoRuntime:
    """One compiled network, which uses all cores for one window at a time.

    Layers are fused and their buffers stay from window to window, so that it is faster than eager torch in any
    precision, and than ONNX Runtime (docs/benchmarks.md).

    Args:
        weights: the network.
        trim_px, threads: see `choose_runtime`.
        eight_bits: whether its convolutions are computed in integers of 8 bits; None where that is faster, and the
            difference was measured (docs/benchmarks.md).

    Raises:
        RuntimeUnavailableError: OpenVINO cannot be loaded, or does not support this network or processor.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        trim_px: int = 0,
        threads: int | None = None,
        eight_bits: bool | None = False,
    ) -> None:
        try:
            openvino = load_openvino()
            core = _core()
            precision = "bf16" if "BF16" in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES") else "f32"
            if eight_bits is None:
                is_measured = weights.spec.architecture == _MEASURED
                eight_bits = is_measured and precision == "f32" and multiplies_bytes_faster()
            ranges = ranges_of(weights, openvino, core) if eight_bits else None
            model = openvino_correction(weights, network_trim_px(weights.spec, trim_px), openvino, ranges)
            self._request = _compile(model, threads, core, precision)
        except (ImportError, RuntimeError) as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from error
            raise RuntimeUnavailableError(
                f"OpenVINO does not run here ({type(error).__name__}): use --runtime torch, which is slower"
            ) from error
        self._lock = threading.Lock()
        self._spec = weights.spec
        self._trim_px = trim_px
        self.name = f"openvino cpu {'int8' if eight_bits else precision}"
        self.batch = 1
        # While one window is in the network, the next becomes planes.
        self.callers = 2

    def forward(self, planes: Float32Array) -> Float32Array:
        """See `Runtime.forward`."""
        with self._lock:
            return self._infer(planes).copy()

    def restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        """See `Runtime.restore`."""
        planes = normalise(rgb, self._spec)
        if self._spec.colours == "photo":
            # While one window gets its colours, the next is in the network.
            return bind_colours(planes, self.forward(planes), self._spec, photos, self._trim_px)
        with self._lock:
            return correct(rgb, self._infer(planes), self._spec)

    def _infer(self, planes: Float32Array) -> Float32Array:
        """The request's own memory, which the next call fills anew: to be used under the lock."""
        try:
            results = self._request.infer({"input": planes}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            # Its text may name paths, and this message reaches visitors: the cause keeps it for the log.
            raise InferenceError(
                f"OpenVINO failed on a window of {list(planes.shape)}: see the log"
            ) from error
        output: Float32Array = results["output"]
        return output


def _compile(model: Any, threads: int | None, core: Any, precision: str) -> Any:
    """A request for inference."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        # Sums have 32 bits in either, and so has the correction.
        "INFERENCE_PRECISION_HINT": precision,
        # OpenVINO sees affinity, but not the quota of a container.
        "INFERENCE_NUM_THREADS": threads or quota_cores() or 0,
        # Cores are shared with threads that read and encode: no thread may be tied to one of them.
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": _PREPARED_LAYERS,
    }
    return core.compile_model(model, _DEVICE, settings).create_infer_request()


@cache
def _core() -> Any:
    """The library's only instance, which stays for good.

    Its CPU plugin gives the thread that makes it another stack for signals, and frees that stack with the last of its
    networks. Freed by another thread, the first one keeps a stack that is not there: the next signal, a SIGHUP or a
    SIGTERM, was then a segmentation fault.
    """
    return load_openvino().Core()


def load_openvino() -> Any:
    """The library without its telemetry, which would report the import to Google Analytics."""
    # OpenVINO replaces a module that cannot be imported with a stub of its own.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
