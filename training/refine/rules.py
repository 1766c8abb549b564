"""The rules by which a picture is put right: the old photo's shapes, enough fine detail."""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from training.fit.losses import luma

# Shapes coarser than the first follow the old photo; structure finer than the second is called detail.
_SHAPE_SIGMA_PX: Final = 1.25
_DETAIL_SIGMA_PX: Final = 1.0
MARGIN_PX: Final = 16


def back_project(restored: Tensor, old: Tensor, fidelity: float) -> Tensor:
    """Draw the luma of restored pictures back to the old photo's, wherever it is coarser than fine detail.

    The old photo's brightness and contrast as a whole do not count, for haze is there to be removed: its luma is
    brought to the restored picture's first, by the line that fits best.

    Args:
        restored, old: [B, 3, H, W] in [0, 1].
        fidelity: 0 changes nothing, 1 gives the old photo's luma.

    Source: Irani and Peleg 1991 (iterative back-projection), one step of it.
    """
    if fidelity == 0:
        return restored
    mine, true = (_blur(luma(picture), _SHAPE_SIGMA_PX) for picture in (restored, old))
    axes = (1, 2, 3)
    mine_0, true_0 = mine - mine.mean(axes, keepdim=True), true - true.mean(axes, keepdim=True)
    # A trifle, so that still water does not divide by nothing.
    slope = (mine_0 * true_0).mean(axes, keepdim=True) / (true_0.square().mean(axes, keepdim=True) + 1e-6)
    return restored + fidelity * (slope * true_0 - mine_0)


def with_detail(pictures: Tensor, gain: float | Tensor) -> Tensor:
    """Amplify detail finer than about two pixels by `gain`; pictures are [B, 3, H, W]."""
    return pictures + gain * (pictures - _blur(pictures, _DETAIL_SIGMA_PX))


def _blur(pictures: Tensor, sigma_px: float) -> Tensor:
    size = 2 * math.ceil(4 * sigma_px) + 1
    blurred: Tensor = gaussian_blur(pictures, [size, size], [sigma_px, sigma_px])
    return blurred


def inner(pictures: Tensor) -> Tensor:
    """Cut the border off, where a network sees no context: [..., H, W] to [..., H - 32, W - 32]."""
    return pictures[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
