"""The network as an ONNX model, which other programs read."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from sr_model.network_layers import RestorationNetwork, fold_shuffles
from sr_model.weights import Weights


class _Correction(nn.Module):
    def __init__(self, network: RestorationNetwork, trim_px: int) -> None:
        super().__init__()
        self._network, self._trim_px = network, trim_px

    def forward(self, x: Tensor) -> Tensor:
        return self._network.correction(x, self._trim_px)


def to_onnx(weights: Weights) -> bytes:
    """The network as an ONNX model with dynamic batch, height and width; names `input` and `output`."""
    return _export(weights, fold_shuffles(weights.network()), 0)


def correction_to_onnx(weights: Weights, trim_px: int) -> bytes:
    """`RestorationNetwork.correction` as an ONNX model, otherwise as `to_onnx`."""
    return _export(weights, _Correction(fold_shuffles(weights.network()), trim_px), trim_px)


def _export(weights: Weights, network: nn.Module, trim_px: int) -> bytes:
    spec = weights.spec
    side = 2 * trim_px + 4 * spec.stride
    axes = {0: "batch", 2: "height", 3: "width"}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter is deprecated, but takes a tenth of the time and needs no onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, spec.planes, side, side),),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes a file object
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": axes, "output": axes},
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()
