"""Multiplications, GFLOPS and share of the processor's peak of each layer of a network, in OpenVINO on one core.

The peak is what a large product of matrices reaches in the same runtime. A layer takes what the network up to it takes
longer than the network before it. Times are the processor's, and the least of several rounds: so other work on the
machine counts less.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino

from sr_model import Weights
from sr_model.binding import network_trim_px
from sr_model.graph import openvino_correction

METATILE_PX: Final = 1024
_MATRIX: Final = 1024
_SETTINGS: Final = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": 1,
    "ENABLE_CPU_PINNING": False,
}
# Instructions that decide how fast a network runs, as Linux names them.
_INSTRUCTIONS: Final = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Layer:
    """Convolutions of one kind.

    Attributes:
        kind: kernel, channels and scale.
        count: how many of them there are.
        multiplications: of all, for one metatile.
        gflops: multiplications and additions in a second, in thousand millions, on one core.
    """

    kind: str
    count: int
    multiplications: float
    gflops: float

    @property
    def seconds(self) -> float:
        """For one metatile on one core."""
        return 2e-9 * self.multiplications / self.gflops


def instructions() -> str:
    """The vector instructions that the processor has, of those that matter here."""
    words = Path("/proc/cpuinfo").read_text().split()
    return ", ".join(name for name in _INSTRUCTIONS if name in words)


def peak_gflops(rounds: int) -> float:
    """What a product of two matrices reaches on one core."""
    ops = openvino.opset13
    side = [_MATRIX, _MATRIX]
    first = ops.parameter(side, openvino.Type.f32)
    second = ops.constant(np.random.default_rng(0).random(side, np.float32))
    model = openvino.Model([ops.matmul(first, second, False, False)], [first], "product")
    return (
        2e-9
        * _MATRIX**3
        / _least_seconds([model], np.random.default_rng(1).random(side, np.float32), rounds)[0]
    )


def measure(weights: Weights, side: int, rounds: int) -> tuple[list[Layer], float]:
    """Layers of a network, with what comes between them, and the seconds that a metatile takes on one core.

    Args:
        weights: the network.
        side: of the window whose time is taken.
        rounds: how often.
    """
    spec = weights.spec
    metatile = METATILE_PX + 2 * spec.halo_px
    model = openvino_correction(weights, network_trim_px(spec, spec.halo_px), openvino)
    whole = _convolutions(model, spec.planes, metatile)
    timed = _convolutions(model, spec.planes, side)
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    parts = [_ending_in(nodes[name], model) for name in list(timed)[:-1]]
    inputs = np.random.default_rng(0).standard_normal((1, spec.planes, side, side), np.float32)
    ends = _least_seconds([*parts, model], inputs, rounds)
    seconds = dict(zip(timed, np.diff([0.0, *ends]), strict=True))
    layers = []
    for kind in dict.fromkeys(kind for kind, _ in whole.values()):
        names = [name for name, (one, _) in whole.items() if one == kind]
        gflops = 2e-9 * sum(timed[name][1] for name in names) / sum(seconds[name] for name in names)
        layers.append(Layer(kind, len(names), sum(whole[name][1] for name in names), gflops))
    return layers, ends[-1] * (metatile / side) ** 2


def _ending_in(node: Any, model: Any) -> Any:
    """The part of a model up to a node, without the time that it takes to write all of its result."""
    ops = openvino.opset13
    ends = ([-1, -1], [2**31 - 1] * 2, [1, 1], [2, 3])  # first, stop, step, axes
    corner = ops.slice(node, *(ops.constant(values) for values in ends))
    return openvino.Model([corner], model.get_parameters(), "part")


def _convolutions(model: Any, planes: int, side: int) -> dict[str, tuple[str, float]]:
    """Kind and multiplications of each convolution, by its name; the model then takes windows of this size alone."""
    model.reshape([1, planes, side, side])
    types = ("Convolution", "ConvolutionBackpropData")
    nodes = (node for node in model.get_ordered_ops() if node.get_type_name() in types)
    return {node.get_friendly_name(): _describe(node, side) for node in nodes}


def _describe(node: Any, side: int) -> tuple[str, float]:
    """Kernel, channels and scale of a convolution, and its multiplications."""
    first, second, height, width = node.input_value(1).get_shape()
    given, made = node.input_value(0).get_shape(), node.output(0).get_shape()
    is_transposed = node.get_type_name() == "ConvolutionBackpropData"
    # A transposed kernel begins with the channels that come in, and each of its numbers meets each input pixel once.
    inputs, outputs = (first, second) if is_transposed else (second, first)
    places = given[2] * given[3] if is_transposed else made[2] * made[3]
    scale = max(1, 2 ** round(np.log2(side / made[2])))
    name = "transposed " if is_transposed else ""
    return f"{name}{height} x {width}, {inputs} to {outputs}, at 1/{scale}", float(
        places * inputs * outputs * height * width
    )


def _least_seconds(models: Sequence[Any], inputs: Any, rounds: int) -> list[float]:
    """Least processor time of each model, all of which are run in turns."""
    core = openvino.Core()
    requests = [core.compile_model(model, "CPU", _SETTINGS).create_infer_request() for model in models]
    least = [math.inf] * len(models)
    for _ in range(rounds):
        for number, request in enumerate(requests):
            start = time.process_time()
            request.infer([inputs])
            least[number] = min(least[number], time.process_time() - start)
    return least


def print_tables(networks: Mapping[str, Weights], side: int, rounds: int) -> None:
    """Print a table in Markdown for each network.

    Args:
        networks: by the names that `--weights` takes.
        side: of the window whose time is taken, halo included, in pixels.
        rounds: how often everything is run.
    """
    peak = peak_gflops(rounds)
    print(f"Instructions: {instructions()}. Peak of one core: {peak:.0f} GFLOPS.")
    for name, weights in networks.items():
        layers, seconds = measure(weights, side, rounds)
        multiplications = sum(layer.multiplications for layer in layers)
        total = Layer(
            "all", sum(layer.count for layer in layers), multiplications, 2e-9 * multiplications / seconds
        )
        rows = (
            f"| {layer.kind} | {layer.count} | {layer.multiplications / METATILE_PX**2:,.0f} "
            f"| {1000 * layer.seconds:.0f} | {layer.gflops:.0f} | {layer.gflops / peak:.2f} |"
            for layer in [*layers, total]
        )
        head = [f"\n| `{name}` | | multiplications a pixel | ms a metatile | GFLOPS | of the peak |"]
        head.append("| --- | --: | --: | --: | --: | --: |")
        print("\n".join([*head, *rows]))
