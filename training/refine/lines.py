"""Lines that an old photograph's own sampling left in it: removal from pictures, and detection in restored ones.

Cameras and scanners that read odd and even rows apart, and careless resampling, leave rows of different gain: lines
with a period of two of the old photo's pixels, too weak to be seen until a network makes them sharp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from training.fit.losses import luma
from training.refine.options import Direction

Float32Array = npt.NDArray[np.float32]

# Width of the notch, in cycles per pixel: as narrow as a receptive field of a hundred pixels can follow.
_NOTCH_SIGMA: Final = 0.02
# Deviation and reach, in pixels, of the filter that finds lines in the difference of two pictures.
_LINE_SIGMA_PX: Final = 8.0
_LINE_REACH_PX: Final = 16


def without_lines(rgb: npt.NDArray[np.uint8], period_px: float, lines: Direction) -> Float32Array:
    """Take lines of one period out of a picture, and what little of the ground has exactly their frequency.

    Args:
        rgb: uint8 [H, W, 3].
        period_px: of the lines; 2 or more.
        lines: `rows` for lines that run from left to right.

    Returns:
        float32 [H, W, 3], grey levels.
    """
    pad = _LINE_REACH_PX * 2
    padded = np.pad(rgb.astype(np.float32), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    across, along = (
        np.abs(np.fft.fftfreq(side))
        for side in (padded.shape[:2] if lines == "rows" else padded.shape[1::-1])
    )
    distance = ((across[:, None] - 1 / period_px) ** 2 + along[None] ** 2) / _NOTCH_SIGMA**2
    passed = 1 - np.exp(-distance / 2)
    passed = passed if lines == "rows" else passed.T
    spectrum = np.fft.fft2(padded, axes=(0, 1)) * passed[..., None]
    clean: Float32Array = np.fft.ifft2(spectrum, axes=(0, 1)).real[pad:-pad, pad:-pad].astype(np.float32)
    return clean


def line_finder(period_px: float, lines: Direction) -> Callable[[Tensor], Tensor]:
    """Return a function that measures the mean power of lines in [B, 3, H, W], whatever their phase."""
    places = torch.arange(-_LINE_REACH_PX, _LINE_REACH_PX + 1.0)
    along = torch.exp(-((places / _LINE_SIGMA_PX) ** 2) / 2)
    along = along / along.sum()
    phase = 2 * math.pi * places / period_px
    across = 2 * torch.stack([along * phase.cos(), along * phase.sin()])
    size = len(places)
    first, second = along.view(1, 1, 1, size), across.view(2, 1, size, 1)

    def power(difference: Tensor) -> Tensor:
        grey = luma(difference)
        turned = grey if lines == "rows" else grey.transpose(-2, -1)
        return F.conv2d(F.conv2d(turned, first), second).square().mean()

    return power
