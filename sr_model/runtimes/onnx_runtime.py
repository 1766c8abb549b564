"""ONNX Runtime on the CPU."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnxruntime
import torch

from sr_model.errors import InferenceError
from sr_model.network import fold_shuffles
from sr_model.pixels import Float32Array, UInt8Array, denormalise, normalise
from sr_model.weights import Weights


def to_onnx(weights: Weights) -> bytes:
    """The network as an ONNX model with dynamic batch, height and width; names `input` and `output`."""
    stride = weights.spec.stride
    example = torch.zeros(1, weights.spec.planes, 4 * stride, 4 * stride)
    axes = {0: "batch", 2: "height", 3: "width"}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter is deprecated, but takes a tenth of the time and needs no onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fold_shuffles(weights.network()),
            (example,),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes a file object
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": axes, "output": axes},
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()


class OnnxRuntime:
    """An inference session; `run` is thread-safe by ONNX Runtime's own word."""

    def __init__(self, weights: Weights, *, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Buffers of another window's size are given back: memory follows the largest window, not their sum.
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            to_onnx(weights), options, providers=["CPUExecutionProvider"]
        )
        self._spec = weights.spec
        self.name = "onnxruntime cpu"
        # One window takes all cores by itself.
        self.batch = self.callers = 1

    def forward(self, planes: Float32Array) -> Float32Array:
        """See `Runtime.forward`."""
        try:
            (output,) = self._session.run(["output"], {"input": planes})
        except Exception as error:  # onnxruntime's exceptions have no common public root
            # Its text may name paths, and this message reaches visitors: the cause keeps it for the log.
            raise InferenceError(
                f"ONNX Runtime failed on a window of {list(planes.shape)}: see the log"
            ) from error
        return np.asarray(output, np.float32)

    def restore(self, rgb: UInt8Array) -> UInt8Array:
        """See `Runtime.restore`."""
        return denormalise(self.forward(normalise(rgb, self._spec)), self._spec)
