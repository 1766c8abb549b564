"""uint8 pictures with a mask to normalised tensors, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from sr_model.errors import InferenceError, InputError
from sr_model.spec import ModelSpec

if TYPE_CHECKING:  # see `weights`
    import torch

# Side of the parts in which nodata is filled, and which of the pixels tell from how far the fill comes.
_FILL_PX: Final = 304
_SPARSE: Final = 8

_Part = tuple[slice, slice]
UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


def check_rgb(rgb: UInt8Array, stride: int) -> None:
    """Raise InputError unless `rgb` is uint8 [B, H, W, 3] with H and W multiples of `stride`."""
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[-1] != 3:
        raise InputError(f"expected uint8 [batch, height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    height, width = rgb.shape[1:3]
    if height % stride or width % stride or not rgb.size:
        wanted = -(-height // stride) * stride, -(-width // stride) * stride
        raise InputError(
            f"height and width must be multiples of {stride}, got {height} x {width}: "
            f"pad to {wanted[0]} x {wanted[1]} (sr_model.aligned_window does)"
        )


def normalise(rgb: UInt8Array, spec: ModelSpec) -> Float32Array:
    """uint8 [B, H, W, 3] to float32 [B, spec.planes, H, W], see `sr_model.tensors.normalise`."""
    from sr_model import tensors

    planes: Float32Array = tensors.normalise(to_tensor(rgb), spec).numpy()
    return planes


def grain_plane(rgb: UInt8Array) -> Float32Array:
    """uint8 [B, H, W, 3] to float32 [B, H, W], see `sr_model.tensors.grain_plane`."""
    from sr_model import tensors

    grain: Float32Array = tensors.grain_plane(to_tensor(rgb)).numpy()
    return grain


def denormalise(planes: Float32Array, spec: ModelSpec) -> UInt8Array:
    """float32 [B, 3, H, W] back to uint8 [B, H, W, 3], rounded and clipped.

    Raises:
        InferenceError: a value is not finite.
    """
    import torch

    from sr_model import tensors

    rgb, finite = tensors.denormalise(torch.from_numpy(planes), spec)
    check_finite(bool(finite))
    array: UInt8Array = rgb.numpy()
    return array


def check_finite(finite: bool) -> None:
    """Raise InferenceError unless all values that a network returned are finite."""
    if not finite:
        raise InferenceError(
            "the network returned values that are not finite: try --device cpu, or other weights"
        )


def to_tensor(rgb: UInt8Array) -> torch.Tensor:
    """The same memory as a tensor, where torch can have it."""
    import torch

    # Torch warns of arrays that cannot be written.
    return torch.from_numpy(np.require(rgb, requirements=("C", "W")))


def fill_nodata(rgb: UInt8Array, mask: npt.NDArray[np.uint8]) -> UInt8Array:
    """Give every nodata pixel the colour of its nearest valid one, so that no edge gets a dark fringe.

    Args:
        rgb: uint8 [H, W, 3].
        mask: uint8 [H, W], 0 where there is no data.

    Returns:
        uint8 [H, W, 3]; `rgb` itself where nothing, or everything, is missing.
    """
    if rgb.shape[:2] != mask.shape:
        raise InputError(f"picture {list(rgb.shape)} and mask {list(mask.shape)} differ in size")
    missing = mask == 0
    if not missing.any() or missing.all():
        return rgb
    filled = rgb.copy()
    for block, around in _surroundings(missing):
        rows, columns = distance_transform_edt(missing[around], return_distances=False, return_indices=True)
        inside = tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(around, block, strict=True))
        filled[block] = rgb[around][rows[inside], columns[inside]]
    return filled


def _surroundings(missing: npt.NDArray[np.bool_]) -> list[tuple[_Part, _Part]]:
    """Parts that miss pixels, each with a part around it that holds the nearest valid pixel of them all.

    The distance transform costs a tenth of a microsecond per pixel, and most of a picture lacks none.
    """
    height, width = missing.shape
    whole = slice(0, height), slice(0, width)
    # Distances to some of the valid pixels are never below those to the nearest of all.
    sparse = missing[::_SPARSE, ::_SPARSE]
    if sparse.all():
        return [(whole, whole)]
    bound = _SPARSE * (distance_transform_edt(sparse) + 1.5)
    parts, cost = [], 0
    for y in range(0, height, _FILL_PX):
        for x in range(0, width, _FILL_PX):
            block = missing[y : y + _FILL_PX, x : x + _FILL_PX]
            rows, columns = (np.flatnonzero(block.any(axis)) for axis in (1, 0))
            if not len(rows):
                continue
            top, bottom, left, right = y + rows[0], y + rows[-1] + 1, x + columns[0], x + columns[-1] + 1
            near = bound[top // _SPARSE : -(-bottom // _SPARSE), left // _SPARSE : -(-right // _SPARSE)]
            reach = int(near.max()) + 1
            around = (
                slice(max(top - reach, 0), min(bottom + reach, height)),
                slice(max(left - reach, 0), min(right + reach, width)),
            )
            parts.append(((slice(top, bottom), slice(left, right)), around))
            cost += (around[0].stop - around[0].start) * (around[1].stop - around[1].start)
    return parts if cost < height * width else [(whole, whole)]
