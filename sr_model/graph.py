"""The networks as nodes of another framework's graph, layer by layer: for OpenVINO, and for ONNX.

Made of a weights file's arrays, without torch, in a fraction of a second at every start: there is no second file that
could be older than the weights. Each function here mirrors a `correction` of `sr_model.network`, with shuffles folded;
tests/sr_model/test_graph.py compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from sr_model.architectures import (
    check_architecture,
    compact_insets,
    compact_sizes,
    half_scale_insets,
    half_scale_sizes,
    resnet34_insets,
)
from sr_model.eight_bits import Ranges, made_pictures, quantised, quantised_kernel, rounded_range
from sr_model.errors import RuntimeUnavailableError
from sr_model.folding import shuffled_kernel, transposed_kernel
from sr_model.pixels import Float32Array, normalise
from sr_model.spec import SINGLE_IMAGE, ModelSpec
from sr_model.weights import Array, Weights, does_not_fit

# Of torch's nn.BatchNorm2d.
_EPSILON: Final = 1e-5
# Residual blocks and channels of ResNet-34 at 1/4, 1/8, 1/16 and 1/32 (He et al. 2016, table 1).
_RESNET34: Final = ((3, 64), (4, 128), (6, 256), (3, 512))


def openvino_correction(weights: Weights, trim_px: int, openvino: Any, ranges: Ranges | None = None) -> Any:
    """`RestorationNetwork.correction` with dynamic batch, height and width; names `input` and `output`.

    Args:
        weights: the network.
        trim_px: see `RestorationNetwork.correction`.
        openvino: the library, which the caller imported.
        ranges: of `ranges_of`, for convolutions in integers of eight bits; None for single precision.

    Returns:
        An `openvino.Model`.

    Raises:
        WeightsError: unknown architecture, or the tensors are not those of the spec's.
        RuntimeUnavailableError: it is an imported model, which runs on torch alone.
    """
    ops = openvino.opset13
    planes = ops.parameter([-1, weights.spec.planes, -1, -1], openvino.Type.f32)
    result = correction(weights, ops, planes, trim_px, ranges)
    planes.output(0).get_tensor().set_names({"input"})
    result.get_tensor().set_names({"output"})
    return openvino.Model([result], [planes], weights.spec.architecture)


def ranges_of(weights: Weights, openvino: Any, core: Any) -> Ranges:
    """What goes into each convolution but the first and the last, from a run on `sr_model.eight_bits.made_pictures`.

    Args:
        weights: the network.
        openvino: the library, which the caller imported.
        core: its instance, which runs the network.

    Raises:
        WeightsError, RuntimeUnavailableError: see `openvino_correction`.
        RuntimeError: OpenVINO does not run here.
    """
    ops = openvino.opset13
    planes = ops.parameter([-1, weights.spec.planes, -1, -1], openvino.Type.f32)
    inputs: dict[str, Any] = {}
    correction(weights, ops, planes, convolution_inputs=inputs)
    names = list(inputs)[1:-1]
    axes = [0, 2, 3]
    ends = [
        reduce(inputs[name], ops.constant([*axes, 1])).output(0)
        for name in names
        for reduce in (ops.reduce_min, ops.reduce_max)
    ]
    model = openvino.Model(ends, [planes], "ranges")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(normalise(made_pictures(), weights.spec))
    extremes = [float(found[number]) for number in range(len(ends))]
    return {name: rounded_range(*extremes[2 * number : 2 * number + 2]) for number, name in enumerate(names)}


def correction(
    weights: Weights,
    ops: Any,
    planes: Any,
    trim_px: int = 0,
    ranges: Ranges | None = None,
    convolution_inputs: dict[str, Any] | None = None,
) -> Any:
    """The output of a network in a graph.

    Args:
        weights: the network.
        ops: makes nodes as the functions of an OpenVINO operation set do.
        planes: node of the input.
        trim_px: see `RestorationNetwork.correction`.
        ranges: see `openvino_correction`.
        convolution_inputs: receives the node that goes into each convolution, by its name.

    Raises:
        WeightsError, RuntimeUnavailableError: see `openvino_correction`.
    """
    spec = weights.spec
    if spec.architecture == SINGLE_IMAGE:
        raise RuntimeUnavailableError(
            f"{spec.name} is an imported model, whose layers are not known to OpenVINO: use --runtime torch"
        )
    check_architecture(spec)
    layers = _Layers(ops, weights.arrays, spec, ranges, convolution_inputs)
    result = _ARCHITECTURES[spec.architecture](layers, spec, planes, trim_px)
    layers.check_all_used()
    return result


class _Layers:
    """Layers with the weights of a file, which nodes of a graph pass through.

    Args:
        ops: see `correction`.
        arrays: tensors by name.
        spec: of the weights.
        ranges, inputs: see `correction`; `convolution_inputs` is `inputs` here.
    """

    def __init__(
        self,
        ops: Any,
        arrays: Mapping[str, Array],
        spec: ModelSpec,
        ranges: Ranges | None,
        inputs: dict[str, Any] | None,
    ) -> None:
        self._ops, self._arrays, self._spec = ops, arrays, spec
        self._ranges: Ranges = ranges or {}
        self._inputs = {} if inputs is None else inputs
        self._used: set[str] = set()

    def check_all_used(self) -> None:
        """Raise WeightsError where a tensor belongs to no layer; batches that training counted are of no use here."""
        if any(not name.endswith("num_batches_tracked") for name in self._arrays.keys() - self._used):
            raise does_not_fit(self._spec)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Float32Array:
        array = self._arrays.get(name)
        if array is None or array.shape != shape:
            raise does_not_fit(self._spec)
        self._used.add(name)
        return array

    def _per_channel(self, values: Float32Array) -> Any:
        return self._ops.constant(np.ascontiguousarray(values.reshape(1, -1, 1, 1)))

    def convolution(
        self,
        name: str,
        x: Any,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        *,
        bias: bool = True,
    ) -> Any:
        """`nn.Conv2d` that keeps the size, or divides it by the stride."""
        kernel = self._tensor(f"{name}.weight", (outputs, inputs, size, size))
        added = self._tensor(f"{name}.bias", (outputs,)) if bias else None
        return self._convolution(name, x, kernel, added, stride, (size - 1) // 2)

    def _convolution(
        self,
        name: str,
        x: Any,
        kernel: Float32Array,
        bias: Float32Array | None,
        stride: int,
        padding: int,
    ) -> Any:
        pads = [padding, padding]
        self._inputs[name] = x
        kernels = self._ops.constant(kernel)
        if name in self._ranges:
            x, kernels = quantised(self._ops, x, self._ranges[name]), quantised_kernel(self._ops, kernel)
        node = self._ops.convolution(x, kernels, [stride, stride], pads, pads, [1, 1]).output(0)
        return node if bias is None else self._ops.add(node, self._per_channel(bias)).output(0)

    def relu(self, x: Any) -> Any:
        """`F.relu`."""
        return self._ops.relu(x).output(0)

    def add(self, x: Any, y: Any) -> Any:
        """Sum of two nodes of one shape."""
        return self._ops.add(x, y).output(0)

    def concatenated(self, *parts: Any) -> Any:
        """`torch.cat` of channels."""
        return self._ops.concat(list(parts), 1).output(0)

    def shuffled(self, x: Any) -> Any:
        """`F.pixel_shuffle` x 2."""
        return self._ops.depth_to_space(x, "depth_first", 2).output(0)

    def max_pool(self, x: Any) -> Any:
        """`nn.MaxPool2d` of 3 x 3 and stride 2, whose places of maxima are left out."""
        sizes = ([2, 2], [1, 1], [1, 1], [1, 1], [3, 3])  # stride, dilation, padding before and after, kernel
        return self._ops.max_pool(x, *sizes).output(0)

    def inset(self, x: Any, cells: int, after: int | None = None) -> Any:
        """`sr_model.network_layers.inset_cells`; of rows and columns at the end, `after` if it is given."""
        end = cells if after is None else after
        if not cells and not end:
            return x
        parts = ([cells] * 2, [-end if end else 2**31 - 1] * 2, [1, 1], [2, 3])  # first, stop, step, axes
        return self._ops.slice(x, *(self._ops.constant(values) for values in parts)).output(0)

    def batch_norm(self, name: str, x: Any, width: int) -> Any:
        """`nn.BatchNorm2d` with the statistics of training."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self._tensor(f"{name}.{part}", (width,)) for part in parts)
        scale = weight / np.sqrt(variance + np.float32(_EPSILON))
        scaled = self._ops.multiply(x, self._per_channel(scale)).output(0)
        return self._ops.add(scaled, self._per_channel(bias - mean * scale)).output(0)

    def shuffle_up(self, name: str, x: Any, inputs: int, outputs: int, size: int = 1) -> Any:
        """`sr_model.network_layers.ShuffleUp`, folded."""
        weight = self._tensor(f"{name}.expand.weight", (4 * outputs, inputs, size, size))
        bias = self._tensor(f"{name}.expand.bias", (4 * outputs,))
        if size > 1:
            kernel, bias = shuffled_kernel(weight, bias)
            # One row and one column too many: see `shuffled_kernel`.
            made = self._convolution(name, x, kernel, bias, 1, size // 2 + 1)
            return self.shuffled(self.inset(made, 0, after=1))
        kernel, bias = transposed_kernel(weight, bias)
        made = self._ops.convolution_backprop_data(
            x, self._ops.constant(kernel), [2, 2], pads_begin=[1, 1], pads_end=[1, 1]
        ).output(0)
        return self._ops.add(made, self._per_channel(bias)).output(0)

    def residual(self, name: str, x: Any, width: int) -> Any:
        """`sr_model.half_scale.LinearResidualBlock`."""
        changed = self.relu(self.convolution(f"{name}.first", x, width, width))
        return self.add(x, self.convolution(f"{name}.second", changed, width, width))

    def residuals(self, name: str, x: Any, count: int, width: int) -> Any:
        """`sr_model.half_scale.residual_blocks`."""
        for number in range(count):
            x = self.residual(f"{name}.{number}", x, width)
        return x

    def joined(self, below: Any, below_px: int, skip: Any, inset_px: int, scale: int) -> Any:
        """`sr_model.network_layers.join_scales`."""
        cells = (inset_px - below_px) // scale
        return self.concatenated(self.inset(below, cells), self.inset(skip, inset_px // scale))


def _half_scale(layers: _Layers, spec: ModelSpec, x: Any, trim_px: int) -> Any:
    """`sr_model.half_scale.HalfScaleUNet.correction`."""
    sizes = half_scale_sizes(spec)
    (w2, w4, w8), (n2, n4, n8), decoder_blocks = sizes["widths"], sizes["blocks"], sizes["decoder_blocks"]
    conv = layers.convolution
    f2 = layers.relu(conv("fold", x, spec.planes, w2, size=4, stride=2))
    f2 = layers.residuals("encode2", f2, n2, w2)
    f4 = layers.residuals("encode4", layers.relu(conv("down4", f2, w2, w4, stride=2)), n4, w4)
    f8 = layers.residuals("encode8", layers.relu(conv("down8", f4, w4, w8, stride=2)), n8, w8)
    at4, at2 = half_scale_insets(trim_px, decoder_blocks)
    at8 = at4 // 8 * 8
    up4 = layers.shuffled(conv("up4.expand", layers.inset(f8, at8 // 8), w8, 4 * w4, size=1))
    y = layers.add(layers.inset(up4, (at4 - at8) // 4), layers.inset(f4, at4 // 4))
    y = layers.residuals("decode4", y, decoder_blocks[1], w4)
    up2 = layers.shuffled(conv("up2.expand", y, w4, 4 * w2, size=1))
    y = layers.add(layers.inset(up2, (at2 - at4) // 2), layers.inset(f2, at2 // 2))
    y = layers.residuals("decode2", y, decoder_blocks[0], w2)
    return layers.inset(layers.shuffled(conv("head", y, w2, 12)), trim_px - at2)


def _compact(layers: _Layers, spec: ModelSpec, x: Any, trim_px: int) -> Any:
    """`sr_model.network.CompactUNet.correction`."""
    width, blocks = compact_sizes(spec)
    w4, w8, w16 = width, 2 * width, 8 * width // 3
    conv, relu = layers.convolution, layers.relu

    def down(name: str, x: Any, inputs: int, outputs: int, count: int) -> Any:
        """Convolution of stride 2, and `sr_model.network_layers.ResidualBlock`s, which end in an activation."""
        y = relu(conv(f"{name}.0", x, inputs, outputs, stride=2))
        for number in range(count):
            y = relu(layers.residual(f"{name}.{number + 2}", y, outputs))
        return y

    f2 = conv("fold", x, spec.planes, 16, size=4, stride=2)
    f4 = down("stem", f2, 16, w4, 1)
    f8 = down("down8", f4, w4, w8, blocks)
    f16 = down("down16", f8, w8, w16, blocks)
    at8, at4, at2 = compact_insets(trim_px)
    y = layers.joined(layers.shuffle_up("up8", f16, w16, 48), 0, f8, at8, 8)
    y = relu(conv("join8", y, 48 + w8, w8))
    y = layers.joined(layers.shuffle_up("up4", y, w8, 32), at8, f4, at4, 4)
    y = relu(conv("join4", y, 32 + w4, w4))
    y = layers.joined(layers.shuffle_up("up2", y, w4, 16), at4, f2, at2, 2)
    y = relu(conv("join2", y, 32, 32))
    return layers.inset(layers.shuffle_up("head", y, 32, 3, size=3), trim_px - at2)


def _resnet34(layers: _Layers, spec: ModelSpec, x: Any, trim_px: int) -> Any:
    """`sr_model.network.ResNetUNet.correction`."""
    conv, relu = layers.convolution, layers.relu
    f2 = conv("encoder.conv1", x, spec.planes, 64, size=7, stride=2, bias=False)
    f2 = relu(layers.batch_norm("encoder.bn1", f2, 64))
    maps, inputs = [layers.max_pool(f2)], 64
    for number, (count, width) in enumerate(_RESNET34, 1):
        y = maps[-1]
        for block in range(count):
            name, stride = f"encoder.layer{number}.{block}", 2 if number > 1 and block == 0 else 1
            y = _basic_block(layers, name, y, inputs, width, stride)
            inputs = width
        maps.append(y)
    _, f4, f8, f16, f32 = maps
    at8, at4, at2, at1 = resnet34_insets(trim_px)
    middle = relu(conv("middle.2", relu(conv("middle.0", f32, 512, 512)), 512, 512))
    y = _up_block(layers, "up16", middle, f16, (512, 256, 256), (0, 0, 1))
    y = _up_block(layers, "up8", y, f8, (256, 128, 128), (0, at8, 8))
    y = _up_block(layers, "up4", y, f4, (128, 64, 96), (at8, at4, 4))
    y = _up_block(layers, "up2", y, f2, (96, 64, 64), (at4, at2, 2))
    y = layers.joined(layers.shuffle_up("up1", y, 64, 32), at2, x, at1, 1)
    y = relu(layers.residual("cross.2", relu(conv("cross.0", y, 32 + spec.planes, 32)), 32))
    return layers.inset(conv("head", y, 32, 3, size=1), trim_px - at1)


def _basic_block(layers: _Layers, name: str, x: Any, inputs: int, width: int, stride: int) -> Any:
    """`BasicBlock` of torchvision's ResNet."""
    y = layers.convolution(f"{name}.conv1", x, inputs, width, stride=stride, bias=False)
    y = layers.relu(layers.batch_norm(f"{name}.bn1", y, width))
    y = layers.convolution(f"{name}.conv2", y, width, width, bias=False)
    y = layers.batch_norm(f"{name}.bn2", y, width)
    if stride > 1:
        x = layers.convolution(f"{name}.downsample.0", x, inputs, width, size=1, stride=stride, bias=False)
        x = layers.batch_norm(f"{name}.downsample.1", x, width)
    return layers.relu(layers.add(y, x))


def _up_block(
    layers: _Layers,
    name: str,
    x: Any,
    skip: Any,
    widths: tuple[int, int, int],
    join: tuple[int, int, int],
) -> Any:
    """`sr_model.network.UpBlock`; `widths` of input, skip and output, `join` as the last of `join_scales`."""
    inputs, skipped, outputs = widths
    below_px, inset_px, scale = join
    up = layers.shuffle_up(f"{name}.up", x, inputs, inputs // 2)
    normed = layers.batch_norm(f"{name}.skip_norm", skip, skipped)
    y = layers.relu(layers.joined(up, below_px, normed, inset_px, scale))
    y = layers.relu(layers.convolution(f"{name}.first", y, inputs // 2 + skipped, outputs))
    return layers.relu(layers.convolution(f"{name}.second", y, outputs, outputs))


_ARCHITECTURES: Final[Mapping[str, Callable[[_Layers, ModelSpec, Any, int], Any]]] = {
    "compact": _compact,
    "half_scale": _half_scale,
    "resnet34": _resnet34,
}
