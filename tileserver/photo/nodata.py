"""The pixels of a photograph without data: those of its nodata value, of its alpha band, or of its mask."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

Array = np.ndarray[Any, Any]
Mask = npt.NDArray[np.bool_]
# What GDAL's warper writes for opaque into an alpha band of its own, by data type; 255 into all others.
_OPAQUE: Final = {"int8": 127, "int16": 32767, "uint16": 65535}


def nodata_options(dataset: DatasetReader) -> dict[str, Any]:
    """Return the options of `WarpedVRT` with which it tells where a photograph has no data."""
    if dataset.nodata is not None:
        return {"nodata": dataset.nodata, "src_nodata": dataset.nodata}
    if ColorInterp.alpha in dataset.colorinterp:
        return {}
    # An alpha band made by GDAL covers the photograph's extent, less what its mask hides.
    return {"add_alpha": True}


def hidden_by_value(values: Array, nodata: float) -> Mask:
    """Return bool [height, width]: True where all bands of [height, width, bands] have the nodata value."""
    missing: Mask = np.isnan(values) if math.isnan(nodata) else np.equal(values, nodata)
    hidden: Mask = np.logical_and.reduce(missing, axis=2)
    return hidden


def hidden_by_alpha(alpha: Array, *, own: bool) -> Mask:
    """Return bool [height, width]: True where an alpha band hides the photograph.

    Args:
        alpha: [height, width], warped.
        own: the photograph's own band, which hides what is fully transparent, as in GDAL's own mask. Otherwise GDAL
            made it, and pixels whose kernel touched the border are hidden, too.
    """
    if own:
        hidden: Mask = alpha == 0
        return hidden
    return np.not_equal(alpha, _OPAQUE.get(alpha.dtype.name, 255))
