"""Traits of a photograph, from a few windows of its full resolution, which are the same at every start."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy import ndimage

from sr_model.measure import PhotoTraits, estimate_blur_and_halo
from sr_model.pixels import LUMA
from tileserver.errors import ReadError
from tileserver.photo.gdal_errors import gdal_errors

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

# Blocks of a COG are as large, so that a window costs one block.
WINDOW_PX: Final = 512
WINDOWS: Final = 12
# Longest side of the overview in which windows are chosen.
_OVERVIEW_PX: Final = 1600
# A photo without overviews is read whole up to this size; of larger ones, so many samples of so many pixels are.
_READ_WHOLE_PX: Final = 16_000_000
_SAMPLES: Final = 64
_SAMPLE_PX: Final = 128
# Share of a window's pixels whose gradients make its score, and share of it that has to be photograph.
_STEEPEST: Final = 0.02
_LEAST_VALID: Final = 0.2
# Zones along a side, so that no part of a mosaic goes unseen.
_ZONES: Final = 3
# One colour over this square is a collar, a legend or a stamp, whatever the file says about nodata; JPEG frays its rim.
_COLLAR_PX: Final = 33
_FRAYED_PX: Final = 16
_BLOCK_PX: Final = 8
# Smaller parts of a damaged window are not looked at.
_LEAST_PX: Final = 64
_LUMA: Final = np.array(LUMA, np.float32)


def estimate_traits(
    dataset: DatasetReader,
    *,
    bands: Sequence[int],
    rescale: tuple[float, float],
    windows: int = WINDOWS,
) -> PhotoTraits:
    """Estimate blur, unsharp mask and grain of a photograph at its own pixels.

    The windows of 512 px with the strongest edges are read, at least one from every ninth of the photo. The same file
    gives the same traits. A window that is damaged is left out: the others tell as much.

    Args:
        dataset: an open raster; no other thread may use it meanwhile.
        bands: numbers of the one or three bands that are shown, counted from 1.
        rescale: values that become black and white.
        windows: how many are read at most.

    Raises:
        ReadError: no window can be read.
    """
    chosen = choose_windows(dataset, bands=bands, rescale=rescale, count=windows)
    read = _readable(dataset, bands, rescale, chosen)
    return estimate_blur_and_halo([_without_collar(luminance) for _, luminance in read])


def choose_windows(
    dataset: DatasetReader,
    *,
    bands: Sequence[int],
    rescale: tuple[float, float],
    count: int = WINDOWS,
) -> list[Window]:
    """Windows with the strongest edges, best first: the best of each zone, then the best of the others.

    Cells of a grid of 512 px from the photo's corner; those at its right and lower border may be smaller.

    Raises:
        ReadError: no part of the photo can be read.
    """
    rows, columns = (math.ceil(side / WINDOW_PX) for side in dataset.shape)
    scores = _scores(dataset, bands, rescale, rows, columns)
    order = [int(i) for i in np.argsort(-scores.ravel(), kind="stable") if scores.ravel()[i] >= 0]
    first_of_zone: dict[tuple[int, int], int] = {}
    for i in order:
        row, column = divmod(i, columns)
        first_of_zone.setdefault((row * _ZONES // rows, column * _ZONES // columns), i)
    firsts = list(first_of_zone.values())[:count]
    rest = [i for i in order if i not in firsts][: count - len(firsts)]
    return [_cell(dataset, *divmod(i, columns)) for i in order if i in {*firsts, *rest}]


def _cell(dataset: DatasetReader, row: int, column: int) -> Window:
    top, left = row * WINDOW_PX, column * WINDOW_PX
    height, width = min(WINDOW_PX, dataset.height - top), min(WINDOW_PX, dataset.width - left)
    return Window(left, top, width, height)


def _scores(
    dataset: DatasetReader, bands: Sequence[int], rescale: tuple[float, float], rows: int, columns: int
) -> FloatArray:
    """Return the strength of every cell's edges, float64 [rows, columns]; -1 for cells with hardly any data."""
    factor = _overview_factor(dataset)
    if factor is not None:
        whole = Window(0, 0, dataset.width, dataset.height)
        # Damaged somewhere, it may still be sampled.
        with suppress(RasterioError), gdal_errors():
            small = read_luminance(dataset, bands, rescale, whole, factor)
            return _cell_scores(small, rows, columns, max(WINDOW_PX // factor, 1))
    scores = np.full((rows, columns), -1.0)
    samples = [_middle(_cell(dataset, row, column)) for row, column in _spread(rows, columns)]
    for window, sample in _readable(dataset, bands, rescale, samples):
        cell = window.row_off // WINDOW_PX, window.col_off // WINDOW_PX
        scores[cell] = _cell_scores(sample, 1, 1, max(sample.shape))[0, 0]
    return scores


def _readable(
    dataset: DatasetReader, bands: Sequence[int], rescale: tuple[float, float], windows: Sequence[Window]
) -> list[tuple[Window, Float32Array]]:
    """The windows that can be read, with their luminance.

    Raises:
        ReadError: there are some, and none can be read.
    """
    parts, read = list(windows), list[tuple[Window, Float32Array]]()
    while parts and not read:
        for window in parts:
            with suppress(RasterioError), gdal_errors():
                read.append((window, read_luminance(dataset, bands, rescale, window)))
        # A small photograph has one window only, and one damaged block should not hide all of it.
        parts = [quarter for window in parts for quarter in _quarters(window)]
    if windows and not read:
        raise ReadError(
            "no part of the photograph can be read: it may be damaged, or its store cannot be reached"
        )
    return read


def _quarters(window: Window) -> list[Window]:
    """The four quarters of a window, or none of one that is too small to tell anything."""
    height, width = window.height // 2, window.width // 2
    if min(height, width) < _LEAST_PX:
        return []
    corners = [(row, column) for row in (0, height) for column in (0, width)]
    return [Window(window.col_off + x, window.row_off + y, width, height) for y, x in corners]


def _overview_factor(dataset: DatasetReader) -> int | None:
    """Return the factor by which the photo is reduced to choose windows; None if that would read too much."""
    wanted = max(dataset.shape) / _OVERVIEW_PX
    fitting = [factor for factor in dataset.overviews(1) if factor >= wanted]
    if fitting and wanted > 1:
        return int(min(fitting))
    return max(math.ceil(wanted), 1) if dataset.width * dataset.height <= _READ_WHOLE_PX else None


def _spread(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Cells in even steps over the whole photo, about `_SAMPLES` of them."""
    step = max(math.sqrt(rows * columns / _SAMPLES), 1.0)
    for y in np.arange(min(step, rows) / 2, rows, step):
        for x in np.arange(min(step, columns) / 2, columns, step):
            yield int(y), int(x)


def _middle(cell: Window) -> Window:
    width, height = min(_SAMPLE_PX, cell.width), min(_SAMPLE_PX, cell.height)
    return Window(
        cell.col_off + (cell.width - width) // 2, cell.row_off + (cell.height - height) // 2, width, height
    )


def _cell_scores(luminance: Float32Array, rows: int, columns: int, cell_px: int) -> FloatArray:
    """Mean of the steepest gradients of every cell."""
    if min(luminance.shape) < 2:
        return np.full((rows, columns), 0.0)
    gradient = np.hypot(*np.gradient(luminance))
    missing = [
        (0, max(n * cell_px - side, 0)) for n, side in zip((rows, columns), luminance.shape, strict=True)
    ]
    padded = np.pad(gradient, missing, constant_values=np.nan)[: rows * cell_px, : columns * cell_px]
    cells = padded.reshape(rows, cell_px, columns, cell_px).swapaxes(1, 2).reshape(rows, columns, -1)
    valid = (~np.isnan(cells)).mean(2)
    most = max(round(_STEEPEST * cell_px * cell_px), 1)
    steepest = np.sort(np.nan_to_num(cells, nan=0.0), axis=2)[..., -most:].mean(2)
    # The smaller cells of the border count by what they hold.
    inside = np.pad(np.ones(luminance.shape), missing)[: rows * cell_px, : columns * cell_px]
    size = inside.reshape(rows, cell_px, columns, cell_px).mean((1, 3))
    enough = valid >= _LEAST_VALID * np.maximum(size, 1e-9)
    return np.where(enough & (valid > 0), steepest, -1.0)


def read_luminance(
    dataset: DatasetReader,
    bands: Sequence[int],
    rescale: tuple[float, float],
    window: Window,
    factor: int = 1,
) -> Float32Array:
    """Read a window as float32 [h, w] in grey levels, NaN where there is no data.

    Args:
        dataset, bands, rescale: as `estimate_traits`.
        window: in full resolution.
        factor: how many pixels become one, along a side.

    Raises:
        rasterio.errors.RasterioError: a block cannot be read.
    """
    shape = tuple(max(math.ceil(side / factor), 1) for side in (window.height, window.width))
    # Overviews are taken as they are; where there are none, pixels are averaged.
    how = {"window": window, "out_shape": shape, "resampling": Resampling.average}
    with gdal_errors():
        values = dataset.read(list(bands), **{**how, "out_shape": (len(bands), *shape)})
        valid = dataset.dataset_mask(**how) > 0
    low, high = rescale
    grey = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    single = grey[0] if len(bands) == 1 else np.tensordot(_LUMA, grey, 1)
    luminance: Float32Array = np.where(valid & np.isfinite(single), np.clip(single, 0, 255), np.nan)
    return luminance.astype(np.float32)


def _without_collar(luminance: Float32Array) -> Float32Array:
    """NaN where a single colour fills a large square, and around it."""
    if not _has_plain_block(luminance):
        return luminance
    highest = ndimage.maximum_filter(luminance, _COLLAR_PX)
    plain = highest == ndimage.minimum_filter(luminance, _COLLAR_PX)
    if not plain.any():
        return luminance
    reach = _COLLAR_PX + 2 * _FRAYED_PX
    return np.where(ndimage.maximum_filter(plain, reach), np.float32(np.nan), luminance)


def _has_plain_block(luminance: Float32Array) -> bool:
    """Whether a block of a grid of 8 px has one colour, as one has in every square of a collar; filters take longer.

    Even of a square at the edge, half of which the filters mirror, 17 px lie inside the window: 8 of the grid do.
    """
    rows, columns = (side // _BLOCK_PX for side in luminance.shape)
    if not rows or not columns or np.isnan(luminance).any():
        return True
    blocks = luminance[: rows * _BLOCK_PX, : columns * _BLOCK_PX].reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)
    # Rows first, and what is left of a few columns.
    return bool((blocks.max(1).max(2) == blocks.min(1).min(2)).any())
