"""Warp windows of an open raster to another grid, and convert them to 8-bit RGB with a mask."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from sr_model import PixelWindow
from tileserver.photo.nodata import Array, Mask, hidden_by_alpha, hidden_by_value, nodata_options
from tileserver.photo.smooth_warp import warp_smooth
from tileserver.tiling.raster import Raster, UInt8Array

# The values that become black and white, for dtypes with a default.
RANGES: Final = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}

# Largest error, in source pixels, of the approximate transformer that GDAL interpolates positions with. With GDAL's
# default, 0.125, positions depend on the window and neighbouring windows disagree. At 1e-4 fewer than 1 pixel in 1000
# differs, by one grey level. (With 0, rasterio 1.4 fails to build the exact transformer.)
WARP_TOLERANCE_PX: Final = 1e-4
# Cubic, as in training: the network has learnt to undo the blur of this kernel.
WARP_KERNEL: Final = Resampling.cubic

# GDAL reads a warped window in one thread, so a large window is split into bands of rows, warped by one thread each:
# a single metatile is read in half the time.
PART_PX: Final = 512


def row_parts(height: int) -> list[slice]:
    """Split a window's rows into the parts read in parallel.

    The split depends on the height alone, not on the number of cores: pixels must be the same on every machine.
    """
    count = max(1, height // PART_PX)
    ends = [height * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def warp(dataset: DatasetReader, bands: tuple[int, ...], options: dict[str, Any], values: Array) -> Mask:
    """Warp a window of a dataset into an array.

    In one pass of our own where that gives GDAL's pixels (see `tileserver.photo.smooth_warp`), else of GDAL's warper;
    rio-tiler's reader takes 1.5 times as long, because of its masked arrays.

    Args:
        dataset: the open raster.
        bands: bands to read, counted from 1.
        options: the target grid, as options of `WarpedVRT`.
        values: [height, width, bands] of the dataset's dtype, which is filled.

    Returns:
        bool [height, width]; True where the pixel has no data.
    """
    if warp_smooth(dataset, bands, options, values):
        return np.zeros(values.shape[:2], np.bool_)
    return warp_by_gdal(dataset, bands, options, values)


def warp_by_gdal(
    dataset: DatasetReader, bands: tuple[int, ...], options: dict[str, Any], values: Array
) -> Mask:
    """As `warp`, with GDAL's warper, which can do everything."""
    own_alpha = ColorInterp.alpha in dataset.colorinterp
    options = {**options, "resampling": WARP_KERNEL, "dtype": dataset.dtypes[0], **nodata_options(dataset)}
    with WarpedVRT(dataset, **options) as vrt:
        vrt.read(bands, out=np.moveaxis(values, 2, 0))
        if dataset.nodata is not None:
            return hidden_by_value(values, dataset.nodata)
        # Cheap: GDAL still holds the blocks it has just warped.
        alpha = vrt.read(vrt.colorinterp.index(ColorInterp.alpha) + 1)
    return hidden_by_alpha(alpha, own=own_alpha)


def to_raster(values: Array, hidden: Mask, window: PixelWindow, rescale: tuple[float, float]) -> Raster:
    """Convert warped values to RGB and mask.

    Args:
        values: [height, width, bands] of any dtype, with one band (grey) or three (RGB).
        hidden: bool [height, width]; True where the pixel has no data.
        window: the window's place in its zoom's pixel grid.
        rescale: values that become 0 and 255.
    """
    if np.issubdtype(values.dtype, np.floating):
        hidden = hidden | ~np.isfinite(values).all(axis=2)
        values = np.nan_to_num(values)
    pixels = values if values.dtype == np.uint8 and rescale == RANGES["uint8"] else _stretch(values, rescale)
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    # 0 - 1 wraps around to 255.
    mask = hidden.astype(np.uint8) - np.uint8(1)
    return Raster(window, rgb, mask).masked()


def _stretch(values: Array, rescale: tuple[float, float]) -> UInt8Array:
    low, high = rescale
    stretched = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    grey: UInt8Array = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return grey
