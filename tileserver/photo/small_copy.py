"""Small copies of photographs, and values of their windows, read from files."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sr_model.measure.small_copy import (
    LONGEST_PX,
    Mask,
    SmallCopy,
    Values,
    level_of_copy,
    shape_of_copy,
    where_valid,
)
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors

# A photograph without overviews is read whole up to this size; of larger ones, only so many rows of blocks are.
MOST_READ_PX: Final = 256_000_000
# A photograph that is damaged, or too large, is read in pieces of this size; of a large one, so many along each side.
_PIECE_PX: Final = 64
_PIECES: Final = 16


def read_small_copy(dataset: DatasetReader, bands: tuple[int, ...]) -> SmallCopy | None:
    """Read the coarsest overview that is still large enough, or reduce a photograph without overviews.

    Nearest neighbours only, so that no values are made up. None if the photograph is too large to be read without
    overviews.

    Raises:
        rasterio.errors.RasterioError, OSError: a block cannot be read.
    """
    level = level_of_copy(dataset.shape, dataset.overviews(1))
    with gdal_errors():
        if level is not None:
            with open_dataset(dataset.name, overview_level=level) as overview:
                return _read(overview, bands, dataset.shape)
        if max(dataset.shape) > LONGEST_PX and dataset.width * dataset.height > MOST_READ_PX:
            return None
        return _read(dataset, bands, dataset.shape)


def read_scattered(dataset: DatasetReader, bands: tuple[int, ...]) -> SmallCopy:
    """Windows in even steps over a photograph, side by side: a sample of values of those without a small copy."""
    rows = [round((dataset.height - _PIECE_PX) * number / (_PIECES - 1)) for number in range(_PIECES)]
    columns = [round((dataset.width - _PIECE_PX) * number / (_PIECES - 1)) for number in range(_PIECES)]
    side = _PIECES * _PIECE_PX
    values = np.zeros((side, side, len(bands)), dataset.dtypes[bands[0] - 1])
    valid = np.zeros((side, side), np.bool_)
    for i, j in np.ndindex(_PIECES, _PIECES):
        window = Window(max(0, columns[j]), max(0, rows[i]), _PIECE_PX, _PIECE_PX)
        target = np.s_[i * _PIECE_PX : (i + 1) * _PIECE_PX, j * _PIECE_PX : (j + 1) * _PIECE_PX]
        with suppress(RasterioError, OSError), gdal_errors():
            values[target], valid[target] = read_values(dataset, bands, window=window)
    return SmallCopy(values, valid, (dataset.height / side, dataset.width / side))


def _read(dataset: DatasetReader, bands: tuple[int, ...], full: tuple[int, int]) -> SmallCopy:
    height, width = shape_of_copy(dataset.shape)
    factor = (full[0] / height, full[1] / width)
    try:
        with gdal_errors():
            values, valid = read_values(dataset, bands, shape=(height, width))
    except RasterioError:
        # One bad block costs its own part of the copy.
        values, valid = _read_pieces(dataset, bands, (height, width))
    return SmallCopy(values, valid, factor)


def _read_pieces(
    dataset: DatasetReader, bands: tuple[int, ...], shape: tuple[int, int]
) -> tuple[Values, Mask]:
    values = np.zeros((*shape, len(bands)), dataset.dtypes[bands[0] - 1])
    valid = np.zeros(shape, np.bool_)
    for row in range(0, shape[0], _PIECE_PX):
        for column in range(0, shape[1], _PIECE_PX):
            bottom, right = min(shape[0], row + _PIECE_PX), min(shape[1], column + _PIECE_PX)
            down, across = dataset.height / shape[0], dataset.width / shape[1]
            window = Window.from_slices(
                (round(row * down), round(bottom * down)), (round(column * across), round(right * across))
            )
            with suppress(RasterioError, OSError), gdal_errors():
                values[row:bottom, column:right], valid[row:bottom, column:right] = read_values(
                    dataset, bands, window=window, shape=(bottom - row, right - column)
                )
    return values, valid


def read_values(
    dataset: DatasetReader,
    bands: tuple[int, ...],
    *,
    window: Window | None = None,
    shape: tuple[int, int] | None = None,
) -> tuple[Values, Mask]:
    """Values [height, width, bands] of a window, or of all, and where they are valid (bool [height, width]).

    A pixel has the nodata value if all of its bands have it; an alpha band of the file hides what is fully transparent,
    and a mask what it marks.
    """
    how: dict[str, Any] = {"window": window}
    read = dataset.read(list(bands), **how, **({"out_shape": (len(bands), *shape)} if shape else {}))
    values = np.moveaxis(read, 0, 2)
    # A mask hides pixels beside a nodata value; of an alpha band beside one, GDAL knows nothing.
    has_alpha = ColorInterp.alpha in dataset.colorinterp and dataset.nodata is None
    mask = None
    if has_alpha or MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        mask = dataset.dataset_mask(**how, **({"out_shape": shape} if shape else {})) > 0
    return values, where_valid(values, dataset.nodata, mask)
