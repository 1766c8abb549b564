"""Windows of a photograph whose pixels are all valid, resampled without GDAL's warper, which takes three times as long.

Everything else is left to GDAL: a window beside the photograph's edge or with hidden pixels, one that is reduced, for
which the kernel is wider, and a mapping that is not smooth. Both give the same pixels, within one grey level.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.warp import transform
from rasterio.windows import Window

from sr_model import PixelWindow
from sr_model.resampling import DTYPES, Mapping, find_positions, resample
from tileserver.photo.nodata import Array, hidden_by_value

# GDAL makes its kernel wider if fewer pixels of the target than this lie on one of the source.
LEAST_SCALE: Final = 0.95


def warp_smooth(
    dataset: DatasetReader, bands: tuple[int, ...], options: dict[str, Any], values: Array
) -> bool:
    """Fill `values` with a warped window, as `tileserver.photo.warp.warp` does, if nothing of it is hidden.

    Args:
        dataset, bands, options, values: as for `warp`.

    Returns:
        Whether it was filled. If not, `values` is as it was.

    Raises:
        rasterio.errors.RasterioError, OSError: a block cannot be read.
    """
    is_reduced = min(float(options["XSCALE"]), float(options["YSCALE"])) < LEAST_SCALE
    types = {dataset.dtypes[band - 1] for band in bands} | {dataset.dtypes[0]}
    if is_reduced or len(types) > 1 or types.isdisjoint(DTYPES) or dataset.transform.is_degenerate:
        return False
    positions = find_positions(_mapping(dataset, options), values.shape[:2])
    if positions is None:
        return False
    # One more pixel than the kernel reads: GDAL hides pixels whose kernel touches what is hidden.
    needed = positions.reach.grown(1)
    if needed.x < 0 or needed.y < 0 or needed.right > dataset.width or needed.bottom > dataset.height:
        return False
    source = _valid_pixels(dataset, bands, needed)
    if source is None:
        return False
    values[...] = resample(source, (needed.x, needed.y), positions)
    if dataset.nodata is not None:
        _avoid(values, dataset.nodata)
    return True


def _mapping(dataset: DatasetReader, options: dict[str, Any]) -> Mapping:
    """From pixels of the window to those of the dataset."""
    to_crs: Affine = options["transform"]
    to_pixels = ~dataset.transform

    def mapping(xs: Array, ys: Array) -> tuple[Array, Array]:
        found = transform(options["crs"], options["src_crs"], *_apply(to_crs, xs, ys))
        return _apply(to_pixels, np.array(found[0]), np.array(found[1]))

    return mapping


def _apply(matrix: Affine, xs: Array, ys: Array) -> tuple[Array, Array]:
    return matrix.a * xs + matrix.b * ys + matrix.c, matrix.d * xs + matrix.e * ys + matrix.f


def _valid_pixels(dataset: DatasetReader, bands: tuple[int, ...], needed: PixelWindow) -> Array | None:
    """Pixels [height, width, bands] of a window of a dataset; None if some are hidden."""
    window = Window(needed.x, needed.y, needed.width, needed.height)
    nodata = dataset.nodata
    if nodata is None and not _all_shown(dataset, bands[0], window):
        return None
    source = np.moveaxis(dataset.read(list(bands), window=window), 0, 2)
    if nodata is not None and hidden_by_value(source, nodata).any():
        return None
    return source if source.dtype.kind != "f" or np.isfinite(source).all() else None


def _all_shown(dataset: DatasetReader, band: int, window: Window) -> bool:
    """Whether neither alpha nor mask hides anything, not even in part."""
    if ColorInterp.alpha in dataset.colorinterp:
        alpha = dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, window=window)
        return alpha.dtype.kind == "u" and bool((alpha == np.iinfo(alpha.dtype).max).all())
    if MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]:
        return bool((dataset.read_masks(band, window=window) == 255).all())
    return True


def _avoid(values: Array, nodata: float) -> None:
    """Keep pixels off the nodata value, which the kernel may reach beside valid ones; in place, as GDAL does."""
    hidden = hidden_by_value(values, nodata)
    if values.dtype.kind == "f":
        values[hidden] = math.nextafter(nodata, math.inf)
    elif hidden.any():
        values[hidden] = nodata + 1 if nodata == 0 else nodata - 1
