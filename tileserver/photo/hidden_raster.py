"""Rasters in memory that mark the pixels of a photograph to be hidden, at full resolution and for every overview.

They are written in cells, and hold only the blocks in which anything is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window
from shapely.affinity import affine_transform
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from sr_model.measure.border_search import near_of
from sr_model.measure.borders import Border
from sr_model.measure.small_copy import dilated, spread
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.small_copy import read_values

Marked = npt.NDArray[np.uint8]

_CELL_PX: Final = 2048
# Around a cell: borders are grown within it, so that neighbouring cells agree.
_AROUND_PX: Final = 64
_BLOCK_PX: Final = 256


def write_hidden(
    dataset: DatasetReader,
    bands: tuple[int, ...],
    borders: Sequence[Border],
    *,
    footprint: BaseGeometry | None,
    excluded: BaseGeometry | None,
    shapes: Sequence[tuple[int, int]],
) -> tuple[list[MemoryFile], float]:
    """Mark what is hidden.

    Args:
        dataset: the photograph, open.
        bands: bands that are shown.
        borders: those found in a small copy, which are confirmed here.
        footprint: ground outside of which everything is hidden, in the photograph's CRS.
        excluded: ground that is hidden, with every pixel that it touches.
        shapes: rows and columns of each overview, finest first.

    Returns:
        One raster of full size and one for each overview, uint8 with 1 where the photograph is hidden; and the share of
        the photograph that is.

    Raises:
        rasterio.errors.RasterioError, OSError: a block cannot be read.
    """
    marker = _Marker(dataset, bands, borders, footprint, excluded)
    files = [MemoryFile(ext=".tif")]
    total = 0
    with gdal_errors(), _create(files[0], dataset.shape) as target:
        for row in range(0, dataset.height, _CELL_PX):
            for column in range(0, dataset.width, _CELL_PX):
                height, width = min(_CELL_PX, dataset.height - row), min(_CELL_PX, dataset.width - column)
                marked = marker.mark(row, column, height, width)
                if marked is not None and marked.any():
                    total += int(marked.sum())
                    target.write(marked, 1, window=Window(column, row, width, height))
    for shape in shapes:
        files.append(_reduce(files[-1], shape))
    return files, total / (dataset.width * dataset.height)


class _Marker:
    """Marks the pixels of one cell after the other."""

    def __init__(
        self,
        dataset: DatasetReader,
        bands: tuple[int, ...],
        borders: Sequence[Border],
        footprint: BaseGeometry | None,
        excluded: BaseGeometry | None,
    ) -> None:
        self._dataset, self._bands = dataset, bands
        # To columns and rows, which need no georeference any more.
        inverse = ~dataset.transform
        matrix = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
        self._footprint = None if footprint is None else affine_transform(footprint, matrix)
        self._excluded = None if excluded is None else affine_transform(excluded, matrix)
        self._borders = [(border, *self._near(border)) for border in borders]

    def _near(self, border: Border) -> tuple[npt.NDArray[np.bool_], tuple[float, float]]:
        rows, columns = border.region.shape
        factor = (self._dataset.height / rows, self._dataset.width / columns)
        return near_of(border, factor), factor

    def mark(self, row: int, column: int, height: int, width: int) -> Marked | None:
        marked = np.zeros((height, width), np.uint8)
        cell = box(column, row, column + width, row + height)
        if self._footprint is not None and not self._footprint.contains(cell):
            marked |= 1 - _burn(self._footprint, row, column, height, width, touched=False)
        if self._excluded is not None and self._excluded.intersects(cell):
            marked |= _burn(self._excluded, row, column, height, width, touched=True)
        self._mark_borders(marked, row, column)
        return marked

    def _mark_borders(self, marked: Marked, row: int, column: int) -> None:
        height, width = marked.shape
        top, left = max(0, row - _AROUND_PX), max(0, column - _AROUND_PX)
        bottom = min(self._dataset.height, row + height + _AROUND_PX)
        right = min(self._dataset.width, column + width + _AROUND_PX)
        window = (top, left, bottom - top, right - left)
        values = None
        inner = np.s_[row - top : row - top + height, column - left : column - left + width]
        for border, near, factor in self._borders:
            wanted = spread(near, window, factor)
            if not wanted.any():
                continue
            region = spread(border.region, window, factor)
            try:
                if values is None:
                    where = Window(left, top, right - left, bottom - top)
                    with gdal_errors():
                        values, _ = read_values(self._dataset, self._bands, window=where)
            except RasterioError:
                # Damaged in this cell: the small copy has to do.
                marked |= region[inner]
                continue
            marked |= border.hidden_in(values, region, wanted)[inner]


def _burn(geometry: BaseGeometry, row: int, column: int, height: int, width: int, *, touched: bool) -> Marked:
    part = geometry.intersection(box(column - 1, row - 1, column + width + 1, row + height + 1))
    polygons = [one for one in shapely.get_parts(part) if one.geom_type == "Polygon" and not one.is_empty]
    if not polygons:
        return np.zeros((height, width), np.uint8)
    burnt: Marked = rasterize(
        polygons,
        out_shape=(height, width),
        transform=Affine.translation(column, row),
        all_touched=touched,
        dtype="uint8",
    )
    return burnt


def _create(file: MemoryFile, shape: tuple[int, int]) -> Any:
    return file.open(
        driver="GTiff",
        count=1,
        dtype="uint8",
        height=shape[0],
        width=shape[1],
        tiled=True,
        blockxsize=_BLOCK_PX,
        blockysize=_BLOCK_PX,
        compress="deflate",
        zlevel=1,
        sparse_ok=True,
        transform=Affine.translation(0, shape[0]) * Affine.scale(1, -1),
    )


def _reduce(finer: MemoryFile, shape: tuple[int, int]) -> MemoryFile:
    """Mark every pixel of an overview that a marked pixel is part of, or beside, because kernels reach that far."""
    coarse = MemoryFile(ext=".tif")
    with gdal_errors(), finer.open() as source, _create(coarse, shape) as target:
        rows, columns = _edges(source.height, shape[0]), _edges(source.width, shape[1])
        step = max(1, _CELL_PX // 4)
        for first in range(0, shape[0], step):
            last = min(first + step, shape[0])
            # With one row more on each side.
            low, high = max(0, first - 1), min(shape[0], last + 1)
            top, bottom = int(rows[0][low]), int(rows[1][high - 1])
            marked = source.read(1, window=Window(0, top, source.width, bottom - top))
            if not marked.any():
                continue
            part = _largest(marked, rows[0][low:high] - top, rows[1][low:high] - top)
            part = _largest(part.T, *columns).T
            grown = dilated(part.astype(np.bool_), 1)
            target.write(
                grown[first - low : last - low].astype(np.uint8),
                1,
                window=Window(0, first, shape[1], last - first),
            )
    return coarse


def _edges(fine: int, coarse: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First pixel, and the one after the last, that each coarse pixel is made of."""
    numbers = np.arange(coarse)
    return numbers * fine // coarse, -(-(numbers + 1) * fine // coarse)


def _largest(marked: Marked, firsts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Marked:
    reduced: Marked = np.maximum(np.maximum.reduceat(marked, firsts, axis=0), marked[ends - 1])
    return reduced
