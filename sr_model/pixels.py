"""uint8 pictures with a mask to normalised tensors, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from sr_model.errors import InferenceError, InputError
from sr_model.spec import ModelSpec

# Weights of red, green and blue in luminance (ITU-R BT.601).
LUMA: Final = (0.299, 0.587, 0.114)
# Of the grain: shifts and factors of the mixing (Chris Wellons's lowbias32), factors of the neighbours above and left.
MIXING: Final = ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, 1))
NEIGHBOURS: Final = (0x9E3779B1, 0x85EBCA77)

_STRIP_PX: Final = 1 << 17
# Side of the parts in which nodata is filled, and the step between pixels that bound its distance.
_FILL_PX: Final = 304
_SPARSE: Final = 8

_Part = tuple[slice, slice]
UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


def check_rgb(rgb: UInt8Array, stride: int, trim_px: int = 0) -> None:
    """Raise InputError unless `rgb` is uint8 [B, H, W, 3], H and W multiples of `stride` and more than two trims."""
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[-1] != 3:
        raise InputError(f"expected uint8 [batch, height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    height, width = rgb.shape[1:3]
    if height % stride or width % stride or not rgb.size:
        wanted = -(-height // stride) * stride, -(-width // stride) * stride
        raise InputError(
            f"height and width must be multiples of {stride}, got {height} x {width}: "
            f"pad to {wanted[0]} x {wanted[1]} (sr_model.aligned_window does)"
        )
    if min(height, width) <= 2 * trim_px:
        raise InputError(
            f"nothing is left of {height} x {width} after trimming {trim_px} px on each side: "
            f"give more than {2 * trim_px} px, or open the network with a smaller trim_px"
        )


def normalise(rgb: UInt8Array, spec: ModelSpec) -> Float32Array:
    """uint8 [B, H, W, 3] to float32 [B, spec.planes, H, W] with the spec's mean and deviation.

    A fourth plane is grain, see `grain_plane`. `sr_model.tensors.normalise` does the same on a GPU.
    """
    batch, height, width, bands = rgb.shape
    planes = np.empty((batch, spec.planes, height, width), np.float32)
    for window, picture in zip(planes, rgb, strict=True):
        for rows in _strips(height, width):
            for band in range(bands):
                part = window[band, rows]
                np.multiply(picture[rows, :, band], np.float32(1 / (255 * spec.std[band])), out=part)
                part -= np.float32(spec.mean[band] / spec.std[band])
        if spec.planes > bands:
            _draw_grain(picture, window[bands])
    return planes


def correct(rgb: UInt8Array, correction: Float32Array, spec: ModelSpec) -> UInt8Array:
    """Add a network's correction to the picture that it saw.

    Args:
        rgb: uint8 [B, H, W, 3].
        correction: float32 [B, 3, h, w], of the picture's middle, in units of the normalised picture.
        spec: of the network.

    Returns:
        uint8 [B, h, w, 3], rounded and clipped.

    Raises:
        InferenceError: a value is not finite.
    """
    batch, bands, height, width = correction.shape
    top, left = (rgb.shape[1] - height) // 2, (rgb.shape[2] - width) // 2
    corrected = np.empty((batch, height, width, bands), np.uint8)
    finite = True
    for number, window in enumerate(correction):
        seen = rgb[number, top : top + height, left : left + width]
        for rows in _strips(height, width):
            for band in range(bands):
                values = window[band, rows] * np.float32(255 * spec.std[band])
                values += seen[rows, :, band]
                values += np.float32(0.5)
                # Values that have no byte, such as NaN, are reported below.
                with np.errstate(invalid="ignore", over="ignore"):
                    # One sum tells whether any value is NaN or infinite, in a fraction of isfinite's time.
                    finite &= bool(np.isfinite(values.sum()))
                    corrected[number, rows, :, band] = np.clip(values, 0, 255, out=values)
    check_finite(finite)
    return corrected


def check_finite(finite: bool) -> None:
    """Raise InferenceError unless all values that a network returned are finite."""
    if not finite:
        raise InferenceError(
            "the network returned values that are not finite: try --device cpu, or other weights"
        )


def grain_plane(rgb: UInt8Array) -> Float32Array:
    """White noise of mean 0 and deviation 1 that is a function of the pixels around each place alone.

    A very soft photo has nothing to make fine texture from, and a network without noise can only draw its own grid
    there (Karras et al. 2019, section 3.2). Drawn from the pixels, the noise lies on the ground: every
    window, process and machine finds the same, to the last bit.

    Args:
        rgb: uint8 [B, H, W, 3].

    Returns:
        float32 [B, H, W], uniform; the two outermost pixels of a window see less than their neighbourhood.
    """
    grain = np.empty(rgb.shape[:3], np.float32)
    for picture, plane in zip(rgb, grain, strict=True):
        _draw_grain(picture, plane)
    return grain


def _draw_grain(picture: UInt8Array, plane: Float32Array) -> None:
    """Fill float32 [H, W] from uint8 [H, W, 3]."""
    height, width = plane.shape
    above, left = (np.uint32(factor) for factor in NEIGHBOURS)
    for rows in _strips(height, width):
        # Two rows above and one below; beyond the border, those of the other end.
        part = picture[max(0, rows.start - 2) : rows.stop + 1]
        if rows.start == 0:
            part = np.concatenate([picture[-2:], part])
        if rows.stop == height:
            part = np.concatenate([part, picture[:1]])
        words = part[..., 0].astype(np.uint32)
        for band in (1, 2):
            words |= part[..., band].astype(np.uint32) << np.uint32(8 * band)
        spare = np.empty_like(words)
        _mix(words, spare)
        # A flat patch of an old JPEG has one colour: pixels further away make its pixels differ.
        hashed = words[:-3] * above
        hashed += words[2:-1]
        hashed ^= words[3:]
        spare = spare[3:]
        _mix(hashed, spare)
        beside = np.roll(hashed, 2, 1)
        beside *= left
        beside += hashed
        beside ^= np.roll(hashed, -1, 1)
        _mix(beside, spare)
        # From 0 to 2^32 to as far on both sides of 0.
        beside ^= np.uint32(1 << 31)
        plane[rows] = beside.view(np.int32)
        plane[rows] *= np.float32(12**0.5 / 2**32)


def _mix(words: npt.NDArray[np.uint32], shifted: npt.NDArray[np.uint32]) -> None:
    """Every bit of the result depends on every bit. In place, with memory of the same shape to work in."""
    for shift, factor in MIXING:
        words ^= np.right_shift(words, np.uint32(shift), out=shifted)
        if factor != 1:
            words *= np.uint32(factor)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows to work on at once: few enough that they stay in a core's cache."""
    step = max(2, _STRIP_PX // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


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
    """Parts with missing pixels, each with its surroundings, which hold the nearest valid pixel of all of them.

    The distance transform costs a tenth of a microsecond per pixel, and most of a picture is complete.
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
