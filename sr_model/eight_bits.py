"""Convolutions in integers of eight bits, for processors that multiply those faster than float32.

Activations have 256 steps over a range that is found once per network: by a run in float32 on made pictures, of shapes
in all colours with the sharpest edges that there are, beyond which photographs do not go. Kernels have 129 steps for
each output channel: 7 bits, so that sums of two products fit 16 bits, and processors with and without VNNI compute the
same (Intel 2018, "Lower Numerical Precision Deep Learning Inference and Training"). The layer that sees the photograph
and the one that makes the picture stay in float32: together a tenth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from sr_model.pixels import Float32Array, UInt8Array

# Lowest and highest value that goes into each convolution, by its name.
Ranges = Mapping[str, tuple[float, float]]

_STEPS: Final = 255
_KERNEL_STEPS: Final = 64
# Ranges are rounded up to multiples of this, so that rounding of another processor makes no other network.
_ROUNDED: Final = 1 / 16
_PICTURES: Final = 3
_SIDE_PX: Final = 256
_SHAPES: Final = 60


def made_pictures() -> UInt8Array:
    """Bars of all sizes, directions and colours, [3, 256, 256, 3], the same on every machine."""
    random = np.random.default_rng(25)
    y, x = np.mgrid[:_SIDE_PX, :_SIDE_PX]
    pictures = np.empty((_PICTURES, _SIDE_PX, _SIDE_PX, 3), np.uint8)
    for picture in pictures:
        picture[:] = random.integers(0, 256, 3)
        for _ in range(_SHAPES):
            angle, middle = random.uniform(0, math.pi), random.integers(0, _SIDE_PX, 2)
            across = (x - middle[0]) * math.cos(angle) + (y - middle[1]) * math.sin(angle)
            along = (y - middle[1]) * math.cos(angle) - (x - middle[0]) * math.sin(angle)
            is_inside = (abs(across) < random.integers(2, 30)) & (abs(along) < random.integers(8, 80))
            # A third of them black or white.
            is_extreme = random.random() < 1 / 3
            picture[is_inside] = 255 * random.integers(0, 2) if is_extreme else random.integers(0, 256, 3)
    return pictures


def rounded_range(low: float, high: float) -> tuple[float, float]:
    """A range in which 0 is one of the steps, because that is what lies beyond the window and what ReLU makes."""
    low, high = (math.copysign(math.ceil(abs(value) / _ROUNDED) * _ROUNDED, value) for value in (low, high))
    low, high = min(low, 0.0), max(high, _ROUNDED)
    step = (high - low) / _STEPS
    below = math.ceil(-low / step)
    return -below * step, (_STEPS - below) * step


def quantised(ops: Any, x: Any, bounds: tuple[float, float]) -> Any:
    """A node's values in 256 steps.

    Args:
        ops: see `sr_model.graph.correction`.
        x: the node.
        bounds: of `rounded_range`.
    """
    low, high = (ops.constant(np.float32(value)) for value in bounds)
    return ops.fake_quantize(x, low, high, low, high, _STEPS + 1).output(0)


def quantised_kernel(ops: Any, kernel: Float32Array) -> Any:
    """A kernel [out, in, h, w] in 129 steps, of another size for each output channel."""
    largest = np.maximum(np.abs(kernel).max((1, 2, 3), keepdims=True), np.float32(1e-6)).astype(np.float32)
    # OpenVINO computes in integers if there are 255 steps of 8 bits; the outer ones are not used.
    bound = largest * np.float32(_STEPS // 2 / _KERNEL_STEPS)
    low, high = ops.constant(-bound), ops.constant(bound)
    return ops.fake_quantize(ops.constant(kernel), low, high, low, high, _STEPS).output(0)
