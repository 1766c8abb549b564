"""A quick look at a photograph's corners: every border covers one, so most sheets of a mosaic need no longer look."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Final

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sr_model.measure.small_copy import LONGEST_PX, Values
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.value_range import declared_range

# Smaller photographs are read as a whole in no time.
_SMALL_PX: Final = 1_000_000
# Grey levels from the darkest or the brightest of the picture to a border: twice what one may differ by.
_NEAR: Final = 16.0
# Windows inside the picture, along each side, and their size.
_ALONG: Final = 3
_SIDE_PX: Final = 64


def may_have_border(dataset: DatasetReader, bands: tuple[int, ...]) -> bool:
    """Whether a photograph may have a black or white border; False only where it cannot have one.

    Reads a few windows: the corners, and some of the picture for its darkest and brightest values.
    """
    masked = dataset.mask_flag_enums[bands[0] - 1] != [MaskFlags.all_valid]
    declared = declared_range(dataset)
    if dataset.width * dataset.height <= _SMALL_PX or masked or declared is None:
        return True
    # The border is as wide as a pixel of the small copy that it is found in.
    side = max(2, math.ceil(max(dataset.shape) / LONGEST_PX))
    right, bottom = dataset.width - side, dataset.height - side
    corners = [_read(dataset, bands, row, column, side) for row in (0, bottom) for column in (0, right)]
    inside = [
        _read(dataset, bands, row, column, _SIDE_PX)
        for row in _places(dataset.height)
        for column in _places(dataset.width)
    ]
    seen = [one for one in (*corners, *inside) if one.size]
    if not seen:
        return True
    low, high = min(float(one.min()) for one in seen), max(float(one.max()) for one in seen)
    near = _NEAR * (declared[1] - declared[0]) / 255
    return any(
        bool((one.max(axis=0) <= low + near).any() or (one.min(axis=0) >= high - near).any())
        for one in corners
        if one.size
    )


def _places(length: int) -> list[int]:
    return [
        min(length - _SIDE_PX, round(length * number / (_ALONG + 1))) if length > _SIDE_PX else 0
        for number in range(1, _ALONG + 1)
    ]


def _read(dataset: DatasetReader, bands: tuple[int, ...], row: int, column: int, side: int) -> Values:
    """[bands, height, width]; empty if a block is damaged."""
    row, column = max(0, row), max(0, column)
    window = Window(column, row, min(side, dataset.width - column), min(side, dataset.height - row))
    with suppress(RasterioError, OSError), gdal_errors():
        values: Values = dataset.read(list(bands), window=window)
        return values
    return np.zeros((len(bands), 0, 0), np.uint8)
