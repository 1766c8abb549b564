"""Whether overviews hide what the photograph itself hides: some programs write them without its mask."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sr_model.measure.small_copy import Mask
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.small_copy import read_values

# Windows of the photograph that are compared, along each side, and their size in pixels of the overview.
_ALONG: Final = 5
_SIDE_PX: Final = 8


def usable_overviews(path: str, dataset: DatasetReader, bands: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of the overviews that hide what the photograph hides, counted from 0.

    Args:
        path: name that GDAL opens the photograph by.
        dataset: the photograph, open.
        bands: the bands that are shown.
    """
    levels = tuple(range(len(dataset.overviews(1))))
    # A service sends the masks of its overviews with them, and looking would cost it hundreds of tiles.
    if dataset.tags(ns="orthosharp").get("SERVICE") or dataset.mask_flag_enums[0] == [MaskFlags.all_valid]:
        return levels
    return tuple(level for level in levels if _agrees(path, dataset, bands, level))


def _agrees(path: str, dataset: DatasetReader, bands: tuple[int, ...], level: int) -> bool:
    try:
        with gdal_errors(), open_dataset(path, overview_level=level) as overview:
            flags = dataset.mask_flag_enums[0], overview.mask_flag_enums[0]
            if MaskFlags.per_dataset in flags[0] and MaskFlags.all_valid in flags[1]:
                return False
            return not _shows_hidden(dataset, overview, bands)
    except (RasterioError, OSError):
        return True  # a damaged block is reported when a tile needs it


def _shows_hidden(dataset: DatasetReader, overview: DatasetReader, bands: tuple[int, ...]) -> bool:
    """Whether an overview shows windows that the photograph hides as a whole."""
    down, across = dataset.height / overview.height, dataset.width / overview.width
    for row in _places(overview.height):
        for column in _places(overview.width):
            coarse = _clipped(overview, column, row, _SIDE_PX, _SIDE_PX)
            left, top = int(coarse.col_off * across), int(coarse.row_off * down)
            fine = _clipped(dataset, left, top, round(coarse.width * across), round(coarse.height * down))
            # Kernels of overviews reach over the border.
            inner = _valid(overview, bands, coarse)[2:-2, 2:-2]
            if inner.size and inner.all() and not _valid(dataset, bands, fine).any():
                return True
    return False


def _places(length: int) -> list[int]:
    last = max(0, length - _SIDE_PX)
    return sorted({round(last * number / (_ALONG - 1)) for number in range(_ALONG)})


def _clipped(dataset: DatasetReader, column: int, row: int, width: int, height: int) -> Window:
    return Window(column, row, min(width, dataset.width - column), min(height, dataset.height - row))


def _valid(dataset: DatasetReader, bands: tuple[int, ...], window: Window) -> Mask:
    shape: dict[str, Any] = {}
    # Of a large window every so many pixels are enough: GDAL reads the same blocks.
    if max(window.width, window.height) > 4 * _SIDE_PX:
        shape = {"shape": (4 * _SIDE_PX, 4 * _SIDE_PX)}
    valid = read_values(dataset, bands, window=window, **shape)[1]
    found: Mask = np.asarray(valid)
    return found
