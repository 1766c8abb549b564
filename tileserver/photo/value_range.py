"""The values of a photograph that become black and white, as its file declares them."""

from __future__ import annotations

import numpy as np
from rasterio.io import DatasetReader

from sr_model.measure.value_range import range_of_type


def bits_of(dataset: DatasetReader) -> int | None:
    """Bits of each value, where the file says that it has fewer than its data type."""
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    return int(bits) if bits and str(bits).isdigit() else None


def declared_range(dataset: DatasetReader) -> tuple[float, float] | None:
    """Lowest and highest value that the file says it has; None if a range has to be found."""
    return range_of_type(np.dtype(dataset.dtypes[0]), bits_of(dataset))


def is_negative(dataset: DatasetReader) -> bool:
    """Whether low values are white (the TIFF tag PhotometricInterpretation is WhiteIsZero), as in scans of film."""
    return str(dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE", "")).upper() == "YES"
