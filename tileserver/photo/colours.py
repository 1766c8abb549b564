"""The one map of colours of a photograph, found from its own overviews.

A server estimates it once per source and applies it (`sr_model.colour_map` says with which settings) to restored
pixels and to overview pixels alike, so that zooming never flashes, and never to the layer that shows the old
photograph. It depends on the photograph, its bands and its range alone: a server, a seeder and all workers of a cluster
find the same.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy.ndimage import binary_dilation, label

from sr_model import PixelWindow
from sr_model.colour_estimate import estimate_colour_map
from sr_model.colour_map import ColourMap
from sr_model.measure.small_copy import lowest_and_highest
from tileserver.errors import ReadError
from tileserver.photo.damage import describe_damage
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.warp import to_raster
from tileserver.tiling.raster import Raster, area_average, canvas, paste

logger = logging.getLogger("orthosharp")

Mask = npt.NDArray[np.bool_]

# The photograph is looked at in a copy of at most so many pixels a side, read in so many cells a side.
SAMPLED_PX: Final = 1024
_CELLS: Final = 16
# Of a cell of a large photograph without overviews, no more than a square of this side is read.
_MOST_READ_PX: Final = 512
_MOST_FACTOR: Final = 128
# A border that no mask hides: black or white with what JPEG makes of it, on so much of the picture in one piece.
_BLACK: Final = 10
_WHITE: Final = 248
_BORDER_SHARE: Final = 0.002
# Pixels beside nodata are mixed with it in overviews.
_BESIDE_PX: Final = 2


class PhotoColours(NamedTuple):
    """Findings about a photograph's colours.

    Attributes:
        colours: the map at full strength.
        whole: whether everything could be read. If not, another process, or this one tomorrow, may find another map.
    """

    colours: ColourMap
    whole: bool


def find_colours(
    dataset: DatasetReader, *, bands: tuple[int, ...], rescale: tuple[float, float], name: str
) -> PhotoColours:
    """Estimate the map of colours of a photograph.

    Args:
        dataset: the photograph, open. Its overviews are opened by its name.
        bands: one (grey) or three (red, green, blue), counted from 1.
        rescale: values that become black and white.
        name: what the user calls it, for the log.

    Raises:
        ReadError: nothing of it can be read.
    """
    sampled, whole = read_small(dataset, bands=bands, rescale=rescale, name=name)
    return PhotoColours(colour_map_of(sampled, name), whole)


def colour_map_of(small: Raster, name: str) -> ColourMap:
    """Estimate the map of colours of a photograph from its small copy.

    Args:
        small: the copy that `read_small` made.
        name: what the user calls the photograph, for the log.
    """
    valid = _without_borders(small)
    if not valid.any():
        logger.warning("%s shows nothing to find its colours from: is it empty?", name)
    return estimate_colour_map(small.rgb, valid, grey=is_grey(small))


def is_grey(small: Raster) -> bool:
    """Whether a small copy is black and white: its three bands are equal, but for rounding."""
    low, high = lowest_and_highest(small.rgb)
    return bool((high - low)[small.mask > 0].max(initial=0) <= 1)


def read_small(
    dataset: DatasetReader, *, bands: tuple[int, ...], rescale: tuple[float, float], name: str
) -> tuple[Raster, bool]:
    """A small copy of the whole photograph, in integer arithmetic, and whether all of it could be read.

    From an overview, where it has one that is large enough. A large photograph without overviews is read in squares
    only, one in each cell of a grid; the copy has them side by side. Arguments are those of `find_colours`.

    Raises:
        ReadError: nothing of it can be read.
    """
    try:
        level = _overview(dataset)
        with (
            gdal_errors(),
            open_dataset(dataset.name, **({} if level is None else {"overview_level": level})) as opened,
        ):
            return _read_cells(opened, bands, rescale, name)
    except (RasterioError, OSError) as error:
        raise ReadError(
            "the photograph cannot be read: it may be damaged, or its store cannot be reached",
            describe_damage(error),
        ) from error


def _overview(dataset: DatasetReader) -> int | None:
    """Number of the coarsest overview of at least twice SAMPLED_PX, or None for the photograph itself."""
    longest = max(dataset.width, dataset.height)
    # Twice, so that the copy is an average whatever made the overviews, and seldom much smaller than SAMPLED_PX.
    fine = [
        number for number, factor in enumerate(dataset.overviews(1)) if longest >= 2 * SAMPLED_PX * factor
    ]
    return max(fine, default=None)


def _read_cells(
    dataset: DatasetReader, bands: tuple[int, ...], rescale: tuple[float, float], name: str
) -> tuple[Raster, bool]:
    longest = max(dataset.width, dataset.height)
    factor = min(_MOST_FACTOR, max(1, math.ceil(longest / SAMPLED_PX)))
    cell = math.ceil(longest / _CELLS / factor) * factor
    read = min(cell, max(factor, _MOST_READ_PX // factor * factor))
    rows, columns = math.ceil(dataset.height / cell), math.ceil(dataset.width / cell)
    side = read // factor
    small = canvas(PixelWindow(0, 0, columns * side, rows * side))

    def read_into(row: int, column: int, count: int) -> None:
        window = PixelWindow(column * cell, row * cell, count * read, read)
        with gdal_errors():
            piece = area_average(_read(dataset, bands, rescale, window), factor)
        paste(
            small, Raster(PixelWindow(column * side, row * side, count * side, side), piece.rgb, piece.mask)
        )

    damaged, error = 0, None
    for row in range(rows):
        if read == cell:
            # Nothing is left out between cells: all of the row are read at once, which is twice as fast.
            with suppress(RasterioError):
                read_into(row, 0, columns)
                continue
        for column in range(columns):
            try:
                read_into(row, column, 1)
            except RasterioError as caught:
                # One bad block costs its own tiles, not the map.
                damaged, error = damaged + 1, caught
                logger.warning(
                    "%s: a part of the photograph cannot be read: %s", name, describe_damage(caught)
                )
    if error is not None and damaged == rows * columns:
        raise error
    return small, not damaged


def _read(
    dataset: DatasetReader, bands: tuple[int, ...], rescale: tuple[float, float], window: PixelWindow
) -> Raster:
    """A window of the photograph's own pixels; no data where it lies outside."""
    width, height = min(window.width, dataset.width - window.x), min(window.height, dataset.height - window.y)
    inside = Window(window.x, window.y, width, height)
    values = np.moveaxis(dataset.read(list(bands), window=inside), 0, 2)
    nodata = dataset.nodata
    if nodata is None:
        hidden = dataset.read_masks(bands[0], window=inside) == 0
    else:
        # As when it is served: pure red has a band of value 0.
        missing = np.isnan(values) if math.isnan(nodata) else np.equal(values, nodata)
        hidden = np.logical_and.reduce(missing, axis=2)
    part = to_raster(values, hidden, PixelWindow(window.x, window.y, width, height), rescale)
    if (width, height) == (window.width, window.height):
        return part
    whole = canvas(window)
    paste(whole, part)
    return whole


def _without_borders(small: Raster) -> Mask:
    """Return where the copy shows ground: neither nodata, nor a black or white border without a mask."""
    hidden = small.mask == 0
    low, high = lowest_and_highest(small.rgb)
    for extreme in (high <= _BLACK, low >= _WHITE):
        pieces, count = label(extreme & ~hidden)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        large = sizes >= _BORDER_SHARE * pieces.size
        large[0] = False
        hidden |= large[pieces]
    shown: Mask = ~binary_dilation(hidden, iterations=_BESIDE_PX) if hidden.any() else ~hidden
    return shown
