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

# Of the grain: shifts and factors of the mixing (Chris Wellons's lowbias32), axes and factors of the neighbourhood.
MIXING: Final = ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, 1))
NEIGHBOURS: Final = ((1, 0x9E3779B1), (2, 0x85EBCA77))

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
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] with the spec's mean and deviation; a fourth plane is grain."""
    import torch

    std = np.asarray(spec.std, np.float32)
    scale = (1.0 / (255.0 * std)).astype(np.float32)
    offset = (np.asarray(spec.mean, np.float32) / std).astype(np.float32)
    planes = np.empty((rgb.shape[0], spec.planes, *rgb.shape[1:3]), np.float32)
    # torch does this on all cores, in a third of numpy's time.
    colours = torch.from_numpy(planes)[:, :3]
    colours.copy_(torch.from_numpy(np.require(rgb, requirements=("C", "W"))).permute(0, 3, 1, 2))
    colours.mul_(torch.from_numpy(scale).view(3, 1, 1)).sub_(torch.from_numpy(offset).view(3, 1, 1))
    if spec.planes > 3:
        planes[:, 3] = grain_plane(rgb)
    return planes


def grain_plane(rgb: UInt8Array) -> Float32Array:
    """White noise of mean 0 and deviation 1 that is a function of the pixels around each place alone.

    A very soft photo holds nothing that fine texture could be made from, and a network without noise can only draw its
    own grid there (Karras et al. 2019, section 3.2). Drawn from the pixels, the noise lies on the ground: every
    window, process and machine finds the same.

    Args:
        rgb: uint8 [B, H, W, 3].

    Returns:
        float32 [B, H, W], uniform; the two outermost pixels of a window see less than their neighbourhood.
    """
    packed = rgb[..., 0].astype(np.uint32)
    packed += rgb[..., 1] * np.uint32(1 << 8)
    packed += rgb[..., 2] * np.uint32(1 << 16)
    hashed = _mixed(packed)
    # A flat patch of an old JPEG has one colour: what lies two pixels away makes its pixels differ.
    for axis, factor in NEIGHBOURS:
        before, after = np.roll(hashed, 2, axis), np.roll(hashed, -1, axis)
        before *= np.uint32(factor)
        hashed += before
        hashed ^= after
        hashed = _mixed(hashed)
    grain = hashed.astype(np.float32)
    grain *= np.float32(12**0.5 / 2**32)
    grain -= np.float32(3**0.5)
    return grain


def _mixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """In place: every bit of the result depends on every bit."""
    for shift, factor in MIXING:
        values ^= values >> np.uint32(shift)
        values *= np.uint32(factor)
    return values


def denormalise(planes: Float32Array, spec: ModelSpec) -> UInt8Array:
    """float32 [B, 3, H, W] back to uint8 [B, H, W, 3], rounded and clipped.

    Raises:
        InferenceError: a value is not finite.
    """
    import torch

    scale = np.asarray(spec.std, np.float32) * np.float32(255)
    offset = np.asarray(spec.mean, np.float32) * np.float32(255) + np.float32(0.5)
    scaled = torch.from_numpy(planes) * torch.from_numpy(scale).view(3, 1, 1)
    scaled.add_(torch.from_numpy(offset).view(3, 1, 1))
    # One sum tells whether any value is NaN or infinite, in a fraction of isfinite's time.
    if not torch.isfinite(scaled.sum()):
        raise InferenceError(
            "the network returned values that are not finite: try --device cpu, or other weights"
        )
    batch, bands, height, width = planes.shape
    rgb = np.empty((batch, height, width, bands), np.uint8)
    torch.from_numpy(rgb).copy_(scaled.clamp_(0, 255).permute(0, 2, 3, 1))
    return rgb


def normalise_tensor(rgb01: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Same as `normalise` for a tensor [B, 3, H, W] in [0, 1]."""
    import torch

    mean = torch.tensor(spec.mean, device=rgb01.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=rgb01.device).view(1, 3, 1, 1)
    return (rgb01 - mean) / std


def denormalise_tensor(planes: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Inverse of `normalise_tensor`; not clipped."""
    import torch

    mean = torch.tensor(spec.mean, device=planes.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=planes.device).view(1, 3, 1, 1)
    return planes * std + mean


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
