"""The methods that are compared: each makes a picture of a chip, cut to the part that the network sees with context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer
from training.data.dataset import Pair

UInt8Array = npt.NDArray[np.uint8]

BICUBIC: Final = "bicubic"
UNSHARP: Final = "unsharp mask"
OURS: Final = "orthosharp"
NEW: Final = "new photo"

# Left out at a chip's edge, where the network sees no context; a multiple of every stride and of the periods.
_EDGE_PX: Final = 32
# Phases of the network's grid at which a pattern of its own is looked for.
_PHASES_PX: Final = ((0, 0), (1, 6), (2, 3), (3, 1), (4, 4), (5, 7), (6, 2), (7, 5))


def unsharp(rgb: UInt8Array) -> UInt8Array:
    """The usual unsharp mask: radius 2 px, 150 %."""
    return np.asarray(
        Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(radius=2, percent=150, threshold=0))
    )


def restore_chip(restorer: Restorer, rgb: UInt8Array, photo: PhotoContext) -> UInt8Array:
    """Restore the largest part of a chip whose sides are multiples of the stride; without context at its edge."""
    stride = restorer.spec.stride
    height, width = (side // stride * stride for side in rgb.shape[:2])
    restored: UInt8Array = restorer.restore(np.ascontiguousarray(rgb[None, :height, :width]), photo)[0]
    return restored


def _inner(rgb: UInt8Array, stride: int) -> UInt8Array:
    height, width = (side // stride * stride - _EDGE_PX for side in rgb.shape[:2])
    return rgb[_EDGE_PX:height, _EDGE_PX:width]


def make_pictures(
    restorer: Restorer,
    pairs: Sequence[Pair],
    photo: PhotoContext,
    baselines: Mapping[str, Sequence[UInt8Array]] | None = None,
) -> dict[str, list[UInt8Array]]:
    """Every way's pictures, uint8 [h, w, 3] each, of the same ground.

    Args:
        restorer: the network.
        pairs: chips.
        photo: the old photograph, as the network is to know it.
        baselines: pictures of the same chips by other methods, whole chips each.
    """
    made = {
        BICUBIC: [pair.old for pair in pairs],
        UNSHARP: [unsharp(pair.old) for pair in pairs],
        **(baselines or {}),
        OURS: [restore_chip(restorer, pair.old, photo) for pair in pairs],
        NEW: [pair.new for pair in pairs],
    }
    stride = restorer.spec.stride
    return {
        name: [_inner(picture[..., :3], stride) for picture in pictures] for name, pictures in made.items()
    }


def inner_px(side_px: int, stride: int) -> int:
    """Side of the part of a chip of `side_px` that is compared."""
    return side_px // stride * stride - 2 * _EDGE_PX


def shown_at_all_phases(side_px: int, stride: int) -> int:
    """Side of what `restore_at_phases` shows of a chip of `side_px`."""
    last = max(max(phase) for phase in _PHASES_PX)
    return min(inner_px(side_px - at, stride) - (last - at) for at in range(last + 1))


def restore_at_phases(restorer: Restorer, pair: Pair, photo: PhotoContext) -> list[UInt8Array]:
    """A chip restored at several phases of the network's grid, cut to the ground that all show."""
    last = max(max(phase) for phase in _PHASES_PX)
    aligned = []
    for y, x in _PHASES_PX:
        made = _inner(restore_chip(restorer, pair.old[y:, x:], photo), restorer.spec.stride)
        aligned.append(made[last - y :, last - x :])
    height, width = (min(picture.shape[axis] for picture in aligned) for axis in (0, 1))
    return [picture[:height, :width] for picture in aligned]
