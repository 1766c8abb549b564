"""Seams: what two windows that meet at a border show there, against one window that sees both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SeamSums:
    """One chip's sums; see `seam_sums`.

    Attributes:
        difference: mean absolute difference, in grey levels, of the pixels on both sides of the border, computed in
            their own window and in one centred on the border; 0 where there is no seam.
        step, centred_step: mean absolute step across the border, between the two windows and in the centred one;
            step over centred_step is 1 where there is no seam.
    """

    difference: float
    step: float
    centred_step: float


def seam_sums(restorer: Restorer, old: UInt8Array, photo: PhotoContext | None = None) -> SeamSums | None:
    """Put a border between two windows through the middle of a chip, upright and level.

    Each window sees the halo that the weights declare beyond the border, as a metatile does; the whole chip is the
    window centred on it.

    Args:
        restorer: the network.
        old: uint8 [H, W, 3].
        photo: that it is a part of; see `Restorer.restore`.

    Returns:
        None where the chip is smaller than two halos and two strides.
    """
    stride, halo = restorer.spec.stride, restorer.spec.halo_px
    height, width = (side // stride * stride for side in old.shape[:2])
    if min(height, width) < 2 * (halo + stride):
        return None
    chip = old[:height, :width]
    whole = _restored(restorer, chip, photo)
    parts = [_across(restorer, chip, whole, axis, photo) for axis in (0, 1)]
    return SeamSums(*(float(np.mean(values)) for values in zip(*parts, strict=True)))


def _across(
    restorer: Restorer, chip: UInt8Array, whole: Float32Array, axis: int, photo: PhotoContext | None
) -> tuple[float, float, float]:
    stride, halo = restorer.spec.stride, restorer.spec.halo_px
    border = chip.shape[axis] // 2 // stride * stride
    before, after = np.split(chip, [border + halo], axis)[0], np.split(chip, [border - halo], axis)[1]
    mine = [
        _line(_restored(restorer, before, photo), axis, border - 1),
        _line(_restored(restorer, after, photo), axis, halo),
    ]
    centred = [_line(whole, axis, border - 1), _line(whole, axis, border)]
    difference = np.abs(np.stack(mine) - np.stack(centred)).mean()
    return (
        float(difference),
        float(np.abs(mine[1] - mine[0]).mean()),
        float(np.abs(centred[1] - centred[0]).mean()),
    )


def _restored(restorer: Restorer, window: UInt8Array, photo: PhotoContext | None) -> Float32Array:
    restored: Float32Array = restorer.restore(np.ascontiguousarray(window)[None], photo)[0].astype(np.float32)
    return restored


def _line(picture: Float32Array, axis: int, index: int) -> Float32Array:
    """The row (axis 0) or column (axis 1) of a picture: float32 [n, 3]."""
    line: Float32Array = np.take(picture, index, axis)
    return line
