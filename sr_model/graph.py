"""A network as nodes of another framework's graph, layer by layer: for OpenVINO, and for ONNX.

The networks are made of a dozen kinds of layers. Translating those takes a fraction of a second at every start. torch's
exporters to ONNX take longer, and the fast one is deprecated; OpenVINO's own converter takes seconds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from sr_model.network_layers import RestorationNetwork, fold_shuffles
from sr_model.weights import Weights


class Correction(nn.Module):
    """`RestorationNetwork.correction` as a module of its own."""

    def __init__(self, network: RestorationNetwork, trim_px: int) -> None:
        super().__init__()
        self._network, self._trim_px = network, trim_px

    def forward(self, x: Tensor) -> Tensor:
        """[B, planes, H, W] to [B, 3, H - 2 trim_px, W - 2 trim_px]."""
        return self._network.correction(x, self._trim_px)


def openvino_correction(weights: Weights, trim_px: int, openvino: Any) -> Any:
    """`RestorationNetwork.correction` with dynamic batch, height and width; names `input` and `output`.

    Args:
        weights: the network.
        trim_px: see `RestorationNetwork.correction`.
        openvino: the library, which the caller imported.

    Returns:
        An `openvino.Model` in single precision.

    Raises:
        NotImplementedError: the network has a layer of an unknown kind.
    """
    network = Correction(fold_shuffles(weights.network()), trim_px)
    ops = openvino.opset13
    planes = ops.parameter([-1, weights.spec.planes, -1, -1], openvino.Type.f32)
    result = translated(network, ops, planes)
    planes.output(0).get_tensor().set_names({"input"})
    result.get_tensor().set_names({"output"})
    return openvino.Model([result], [planes], weights.spec.architecture)


def translated(network: nn.Module, ops: Any, planes: Any) -> Any:
    """The output of a network in a graph.

    Args:
        network: in eval mode, its shuffles folded.
        ops: makes nodes as the functions of an OpenVINO operation set do.
        planes: node of the input.

    Raises:
        NotImplementedError: the network has a layer of an unknown kind.
    """
    return _Translation(fx.symbolic_trace(network), ops).run(planes)


class _Translation(fx.Interpreter):
    """Runs a traced network on nodes of a graph instead of on tensors."""

    def __init__(self, traced: fx.GraphModule, ops: Any) -> None:
        super().__init__(traced)
        self._ops = ops

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One layer that has weights, or a size."""
        layer = self.fetch_attr(target)
        # A node of OpenVINO may have more outputs, such as the places of maxima.
        return _known(_LAYERS, type(layer))(self._ops, layer, *args, **kwargs).output(0)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation without weights."""
        return _known(_FUNCTIONS, target)(self._ops, *args, **kwargs).output(0)


def _known(translations: Mapping[Any, Callable[..., Any]], kind: Any) -> Callable[..., Any]:
    if kind not in translations:
        raise NotImplementedError(f"there is no translation of {kind.__name__}: use --runtime torch")
    return translations[kind]


def _per_channel(ops: Any, values: Tensor) -> Any:
    return ops.constant(values.detach().reshape(1, -1, 1, 1).numpy())


def _with_bias(ops: Any, node: Any, layer: nn.Conv2d | nn.ConvTranspose2d) -> Any:
    return node if layer.bias is None else ops.add(node.output(0), _per_channel(ops, layer.bias))


def _convolution(ops: Any, layer: nn.Conv2d, x: Any) -> Any:
    kernels, padding = ops.constant(layer.weight.detach().numpy()), list(layer.padding)
    node = ops.convolution(x, kernels, list(layer.stride), padding, padding, list(layer.dilation))
    return _with_bias(ops, node, layer)


def _transposed_convolution(ops: Any, layer: nn.ConvTranspose2d, x: Any) -> Any:
    kernels, padding = ops.constant(layer.weight.detach().numpy()), list(layer.padding)
    node = ops.convolution_backprop_data(x, kernels, list(layer.stride), pads_begin=padding, pads_end=padding)
    return _with_bias(ops, node, layer)


def _batch_norm(ops: Any, layer: nn.BatchNorm2d, x: Any) -> Any:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    shift = layer.bias - layer.running_mean * scale
    return ops.add(ops.multiply(x, _per_channel(ops, scale)).output(0), _per_channel(ops, shift))


def _max_pool(ops: Any, layer: nn.MaxPool2d, x: Any) -> Any:
    sizes = layer.stride, layer.dilation, layer.padding, layer.padding, layer.kernel_size
    return ops.max_pool(x, *([size] * 2 for size in sizes))


def _slice(ops: Any, x: Any, item: tuple[Any, ...]) -> Any:
    """`x[..., rows, columns]` or `x[:, planes]`."""
    at_end = item[0] is Ellipsis
    parts = item[1:] if at_end else item
    axes = range(4 - len(parts), 4) if at_end else range(len(parts))
    first = [part.start or 0 for part in parts]
    stop = [2**31 - 1 if part.stop is None else part.stop for part in parts]
    return ops.slice(x, *(ops.constant(values) for values in (first, stop, [1] * len(parts), list(axes))))


_LAYERS: Final[dict[type[nn.Module], Callable[..., Any]]] = {
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed_convolution,
    nn.MaxPool2d: _max_pool,
    nn.ReLU: lambda ops, _layer, x: ops.relu(x),
}

_FUNCTIONS: Final[dict[Any, Callable[..., Any]]] = {
    F.pixel_shuffle: lambda ops, x, factor: ops.depth_to_space(x, "depth_first", factor),
    F.relu: lambda ops, x, inplace=False: ops.relu(x),  # noqa: ARG005 - torch passes it
    operator.add: lambda ops, x, y: ops.add(x, y),
    operator.getitem: _slice,
    operator.iadd: lambda ops, x, y: ops.add(x, y),
    torch.cat: lambda ops, parts, axis: ops.concat(list(parts), axis),
}
