"""The network as an ONNX model, which other programs read."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sr_model.graph import correction
from sr_model.weights import Weights

# Read by ONNX Runtime since 1.12, of 2022.
_OPSET: Final = 17
_IR_VERSION: Final = 8


def to_onnx(weights: Weights) -> bytes:
    """The network as an ONNX model with dynamic batch, height and width; names `input` and `output`."""
    nodes = _Nodes()
    added, seen = correction(weights, nodes, _Value("input")), _Value("input")
    if weights.spec.planes > 3:
        seen = nodes.slice(seen, *(nodes.constant(values) for values in ([0], [3], [1], [1])))
    nodes.add_node("Add", [seen, added], name="output")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", planes, "height", "width"])
        for name, planes in (("input", weights.spec.planes), ("output", 3))
    ]
    graph = helper.make_graph(nodes.nodes, weights.spec.architecture, ends[:1], ends[1:], nodes.constants)
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(
        graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="orthosharp"
    )
    data: bytes = model.SerializeToString()
    return data


class _Value(str):
    """Name of a value in the graph, which is the only output of its node."""

    __slots__ = ()

    def output(self, _number: int) -> _Value:
        return self


class _Nodes:
    """Makes ONNX nodes as the functions of an OpenVINO operation set do, see `sr_model.graph.correction`."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add_node(self, kind: str, inputs: list[_Value], name: str = "", **attributes: Any) -> _Value:
        """Append a node; its output has the given name, or a new one."""
        output = _Value(name or f"{kind.lower()}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, values: npt.NDArray[np.float32] | list[int]) -> _Value:
        name = _Value(f"constant_{len(self.constants)}")
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, x: _Value, y: _Value) -> _Value:
        return self.add_node("Add", [x, y])

    def multiply(self, x: _Value, y: _Value) -> _Value:
        return self.add_node("Mul", [x, y])

    def relu(self, x: _Value) -> _Value:
        return self.add_node("Relu", [x])

    def concat(self, parts: list[_Value], axis: int) -> _Value:
        return self.add_node("Concat", parts, axis=axis)

    def convolution(
        self,
        x: _Value,
        kernels: _Value,
        strides: list[int],
        begin: list[int],
        end: list[int],
        dilations: list[int],
    ) -> _Value:
        return self.add_node("Conv", [x, kernels], strides=strides, pads=[*begin, *end], dilations=dilations)

    def convolution_backprop_data(
        self, x: _Value, kernels: _Value, strides: list[int], pads_begin: list[int], pads_end: list[int]
    ) -> _Value:
        return self.add_node("ConvTranspose", [x, kernels], strides=strides, pads=[*pads_begin, *pads_end])

    def max_pool(
        self,
        x: _Value,
        strides: list[int],
        dilations: list[int],
        begin: list[int],
        end: list[int],
        kernel: list[int],
    ) -> _Value:
        pads = [*begin, *end]
        return self.add_node(
            "MaxPool", [x], strides=strides, dilations=dilations, pads=pads, kernel_shape=kernel
        )

    def depth_to_space(self, x: _Value, mode: str, factor: int) -> _Value:
        assert mode == "depth_first"
        return self.add_node("DepthToSpace", [x], blocksize=factor, mode="CRD")

    def slice(self, x: _Value, first: _Value, stop: _Value, step: _Value, axes: _Value) -> _Value:
        return self.add_node("Slice", [x, first, stop, axes, step])
