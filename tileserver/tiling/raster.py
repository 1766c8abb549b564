"""Rasters with a mask: cropping, pasting, and resampling to other zooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr_model import PixelWindow, crop_slices, fill_nodata

UInt8Array = npt.NDArray[np.uint8]

# Value of unchanged pixels in the layer `difference`.
NO_DIFFERENCE = 128
# Grey levels on the screen for each that the network changed: most changes are small.
DIFFERENCE_GAIN = 4
# Shares of red, green and blue in luminance, in thousandths (ITU-R BT.601).
_LUMA_WHOLE = 1000
_LUMA_SHARES = np.array([299, 587, 114], np.int32)


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels of one window.

    Attributes:
        window: position and size in the zoom's global pixel grid.
        rgb: uint8 [height, width, 3]; 0 for pixels without data.
        mask: uint8 [height, width]; 255 for pixels with data, else 0.
    """

    window: PixelWindow
    rgb: UInt8Array
    mask: UInt8Array

    @classmethod
    def blank(cls, window: PixelWindow) -> Raster:
        """Return a read-only raster without data; its arrays are broadcast from a single zero."""
        shape = (window.height, window.width)
        zero = np.zeros((), np.uint8)
        return cls(window, np.broadcast_to(zero, (*shape, 3)), np.broadcast_to(zero, shape))

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes; views and broadcasts count as 64."""
        return sum(array.nbytes if array.base is None else 64 for array in (self.rgb, self.mask))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel has data."""
        return not self.mask.any()

    @property
    def is_full(self) -> bool:
        """Whether every pixel has data."""
        return bool(self.mask.all())

    def crop(self, window: PixelWindow) -> Raster:
        """Return a view of the pixels in `window`, which must lie inside this raster's window."""
        rows, columns = crop_slices(self.window, window)
        return Raster(window, self.rgb[rows, columns], self.mask[rows, columns])

    def masked(self) -> Raster:
        """Return the raster with RGB set to 0 where there is no data: hidden pixels never affect encoded bytes."""
        return (
            self if self.is_full else Raster(self.window, self.rgb * (self.mask[..., None] != 0), self.mask)
        )


def paste(target: Raster, piece: Raster) -> None:
    """Copy `piece` into `target` in place."""
    rows, columns = crop_slices(target.window, piece.window)
    target.rgb[rows, columns] = piece.rgb
    target.mask[rows, columns] = piece.mask


def canvas(window: PixelWindow) -> Raster:
    """Return a writable raster without data, to `paste` into."""
    return Raster(
        window,
        np.zeros((window.height, window.width, 3), np.uint8),
        np.zeros((window.height, window.width), np.uint8),
    )


def area_average(raster: Raster, factor: int) -> Raster:
    """Average blocks of `factor` x `factor` pixels; a block has data if at least half of its pixels do.

    Args:
        raster: origin and size of its window are multiples of `factor`.
        factor: a power of two; 1 returns the raster itself.

    Returns:
        A raster in the grid that is `factor` times coarser.
    """
    if factor == 1:
        return raster
    window, area = raster.window.scaled_down(factor), factor * factor
    # Integer arithmetic, rounded to nearest, gives the same result on every machine.
    if raster.is_full:
        rgb = ((2 * _block_sums(raster.rgb, factor) + area) // (2 * area)).astype(np.uint8)
        return Raster(window, rgb, np.full((window.height, window.width), 255, np.uint8))
    valid = (raster.mask != 0).astype(np.uint8)
    count = _block_sums(valid, factor)
    divisor = np.maximum(count, 1)[..., None]
    rgb = ((2 * _block_sums(raster.rgb * valid[..., None], factor) + divisor) // (2 * divisor)).astype(
        np.uint8
    )
    mask = np.where(2 * count >= area, 255, 0).astype(np.uint8)
    return Raster(window, rgb, mask).masked()


def _block_sums(values: UInt8Array, factor: int) -> npt.NDArray[np.uint32]:
    """Sum blocks of `factor` x `factor` pixels of uint8 [height, width, ...].

    Adding rows, then columns, is ten times faster than one sum over two axes.
    """
    assert factor <= 256, "uint16 holds the sum of at most 257 bytes"
    rows: npt.NDArray[np.uint16] = values[0::factor].astype(np.uint16)
    for number in range(1, factor):
        rows += values[number::factor]
    columns = rows.reshape(len(rows), -1, factor, *values.shape[2:])
    total: npt.NDArray[np.uint32] = columns[:, :, 0].astype(np.uint32)
    for number in range(1, factor):
        total += columns[:, :, number]
    return total


def upsample(raster: Raster, window: PixelWindow, factor: int) -> Raster:
    """Interpolate (RGB bicubic, mask nearest) to a grid that is `factor` times finer.

    Args:
        raster: pixels that cover `window`, with two more on each side so that neighbouring tiles are seamless.
        window: the window to return, in the finer grid.
        factor: a power of two.
    """
    left, top = window.x / factor - raster.window.x, window.y / factor - raster.window.y
    box = (left, top, left + window.width / factor, top + window.height / factor)
    size = (window.width, window.height)
    # Filled, so that pixels beside those without data are not mixed with black.
    filled = raster.rgb if raster.is_full else fill_nodata(raster.rgb, raster.mask)
    # Pillow's kernel reads pixels outside `box` where there are any, so neighbouring tiles agree at their border.
    rgb = np.asarray(Image.fromarray(filled).resize(size, Image.Resampling.BICUBIC, box=box))
    mask = np.asarray(Image.fromarray(raster.mask).resize(size, Image.Resampling.NEAREST, box=box))
    return Raster(window, rgb, mask).masked()


def difference(old: Raster, restored: Raster, factor: int = 1) -> Raster:
    """Return how much brighter restored pixels are than the photograph, where the photograph can tell.

    The mean luminance (ITU-R BT.601) of restored minus that of old, over each pixel of the photograph, times
    DIFFERENCE_GAIN, around middle grey; clipped at black and white.

    Args:
        old: the photograph, with its map of colours applied, on the grid of `restored`.
        restored: origin and size of its window are multiples of `factor`.
        factor: side of one of the photograph's pixels in this grid; a power of two.
    """
    change = _LUMA_SHARES @ (restored.rgb.astype(np.int32) - old.rgb).transpose(0, 2, 1)
    height, width = change.shape
    valid = (restored.mask != 0) & (old.mask != 0)
    blocks = (height // factor, factor, width // factor, factor)
    count = np.maximum(valid.reshape(blocks).sum((1, 3)), 1) * _LUMA_WHOLE
    total = (change * valid).reshape(blocks).sum((1, 3), dtype=np.int64) * DIFFERENCE_GAIN
    # Integer arithmetic, rounded to nearest, gives the same result on every machine.
    grey = np.clip((2 * total + count) // (2 * count) + NO_DIFFERENCE, 0, 255).astype(np.uint8)
    full = grey.repeat(factor, 0).repeat(factor, 1)
    return Raster(restored.window, np.repeat(full[..., None], 3, 2), restored.mask).masked()
