"""Kernels that do in one step what `sr_model.network_layers.ShuffleUp` does in three, for inference.

A convolution, a PixelShuffle x 2 and a 2 x 2 box blur have no activation between them, so they can be folded. At the
window's first row and column the folded picture differs, well inside the halo.
"""

from __future__ import annotations

import itertools

import numpy as np

from sr_model.pixels import Float32Array


def transposed_kernel(weight: Float32Array, bias: Float32Array) -> tuple[Float32Array, Float32Array]:
    """A shuffled 1 x 1 convolution as a transposed one of 4 x 4, stride 2 and padding 1: a fifth of the time.

    A shuffled 1 x 1 convolution is a transposed one of 2 x 2 and stride 2; the blur makes that 3 x 3. A fourth tap, of
    zeros, stands above and to the left: padded by 1 there and below, the picture has the right size.

    Args:
        weight: float32 [4 outputs, inputs, 1, 1] of the convolution.
        bias: float32 [4 outputs].

    Returns:
        Kernel, float32 [inputs, outputs, 4, 4], and bias, float32 [outputs].
    """
    phases = _phases(weight)
    outputs, inputs = phases.shape[0], phases.shape[3]
    kernel = np.zeros((inputs, outputs, 4, 4), np.float32)
    for a, b, down, right in itertools.product((0, 1), repeat=4):
        kernel[:, :, 1 + a + down, 1 + b + right] += phases[:, a, b, :, 0, 0].T / 4
    return kernel, _mean_bias(bias)


def shuffled_kernel(weight: Float32Array, bias: Float32Array) -> tuple[Float32Array, Float32Array]:
    """A shuffled convolution of any odd size as one before a PixelShuffle.

    Each sub-pixel of the blurred picture is a mean over its own pixel and that above and to the left, so the kernel
    grows by one. Padded by k // 2 + 1 on all sides, it makes one row and one column too many.

    Args:
        weight: float32 [4 outputs, inputs, k, k] of the convolution.
        bias: float32 [4 outputs].

    Returns:
        Kernel, float32 [4 outputs, inputs, k + 1, k + 1], and bias, float32 [4 outputs].
    """
    phases = _phases(weight)
    outputs, inputs, size = phases.shape[0], *phases.shape[3:5]
    folded = np.zeros((outputs, 2, 2, inputs, size + 1, size + 1), np.float32)
    for a, b, up_by, left_by in itertools.product((0, 1), repeat=4):
        # Row 2i + a - up_by of the shuffled picture: its phase, and whether it is the pixel above.
        y, x = (a - up_by) % 2, (b - left_by) % 2
        top, left = int(a >= up_by), int(b >= left_by)
        folded[:, a, b, :, top : top + size, left : left + size] += phases[:, y, x] / 4
    # Every blurred pixel is a mean of all four phases.
    return folded.reshape(4 * outputs, *folded.shape[3:]), np.repeat(_mean_bias(bias), 4)


def _phases(weight: Float32Array) -> Float32Array:
    """Kernels [outputs, 2, 2, inputs, k, k] of each sub-pixel."""
    return weight.reshape(-1, 2, 2, *weight.shape[1:])


def _mean_bias(bias: Float32Array) -> Float32Array:
    mean: Float32Array = bias.reshape(-1, 4).mean(1, dtype=np.float32)
    return mean
