"""Windows of an open raster on another grid: GDAL's warper, in parts, and what it gives as a picture with a mask."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from sr_model import PixelWindow
from tileserver.tiling.raster import Raster, UInt8Array

Array = np.ndarray[Any, Any]
Mask = npt.NDArray[np.bool_]

# Values that are black and white, of dtypes that need not be told.
RANGES: Final = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}

# GDAL interpolates positions between exact ones up to this error in source pixels. Its own default, 0.125,
# shifts pixels by window: neighbours would disagree. At 1e-4 fewer than 1 pixel in 1000 differs, by one grey
# level. (At 0, rasterio 1.4 fails to build the exact transformer.)
WARP_TOLERANCE_PX: Final = 1e-4
# Cubic, as in training: the network has learnt to undo this blur and no other.
WARP_KERNEL: Final = Resampling.cubic

# A large window is warped in parts by as many threads, since GDAL's own take no part in reading one: whoever waits for
# a single metatile waits half as long.
PART_PX: Final = 512


def parts(height: int) -> list[slice]:
    """Rows of a window that are read at the same time: whatever the machine, else two would read other pixels."""
    count = max(1, height // PART_PX)
    ends = [height * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def warp(dataset: DatasetReader, bands: tuple[int, ...], options: dict[str, Any], values: Array) -> Mask:
    """Fill `values`, any dtype [height, width, bands], on another grid; bool [height, width], true where none is.

    In one pass: rio-tiler's reader, which is made for any raster, takes half as long again for its masked arrays.
    """
    nodata, own_alpha = dataset.nodata, ColorInterp.alpha in dataset.colorinterp
    options = {**options, "resampling": WARP_KERNEL, "dtype": dataset.dtypes[0]}
    if nodata is not None:
        options |= {"nodata": nodata, "src_nodata": nodata}
    elif not own_alpha:
        # Where the photograph is, and what its own mask leaves of it.
        options["add_alpha"] = True
    with WarpedVRT(dataset, **options) as vrt:
        # Band by band into memory of the layout that pictures have.
        vrt.read(bands, out=np.moveaxis(values, 2, 0))
        if nodata is not None:
            missing: Mask = np.isnan(values) if math.isnan(nodata) else np.equal(values, nodata)
            hidden: Mask = np.logical_and.reduce(missing, axis=2)
            return hidden
        # Of blocks that GDAL has warped a moment ago.
        alpha = vrt.read(vrt.colorinterp.index(ColorInterp.alpha) + 1)
    if own_alpha:
        # What is wholly transparent, as GDAL's mask does.
        hidden = alpha == 0
    else:
        # All that the kernel saw not only photograph of. A mask of eight bits becomes 255, whatever the dtype.
        most = np.iinfo(alpha.dtype).max if np.issubdtype(alpha.dtype, np.integer) else 255
        hidden = alpha != (255 if alpha.max(initial=0) == 255 else most)
    return hidden


def to_raster(values: Array, hidden: Mask, window: PixelWindow, rescale: tuple[float, float]) -> Raster:
    """[height, width, bands] of any dtype to RGB and mask."""
    if np.issubdtype(values.dtype, np.floating):
        hidden = hidden | ~np.isfinite(values).all(axis=2)
        values = np.nan_to_num(values)
    pixels = values if values.dtype == np.uint8 and rescale == RANGES["uint8"] else _stretch(values, rescale)
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    # Zero less one is 255.
    mask = hidden.astype(np.uint8) - np.uint8(1)
    return Raster(window, rgb, mask).masked()


def _stretch(values: Array, rescale: tuple[float, float]) -> UInt8Array:
    low, high = rescale
    stretched = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    grey: UInt8Array = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return grey
