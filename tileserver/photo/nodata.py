"""The pixels of a photograph without data: those of its nodata value, of its alpha band, or of its mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

Array = np.ndarray[Any, Any]
Mask = npt.NDArray[np.bool_]


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
    # An 8-bit mask has 255 at most, whatever the band's dtype.
    largest = np.iinfo(alpha.dtype).max if np.issubdtype(alpha.dtype, np.integer) else 255
    opaque = 255 if alpha.max(initial=0) == 255 else largest
    return np.not_equal(alpha, opaque)
