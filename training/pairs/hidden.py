"""What of a photograph's file is no ground though no tag says so, and its range of values: as serving finds both.

The arithmetic is that of `sr_model.measure`, which the server uses too; this module reads the file for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import features
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.warp import transform as warp_transform
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

from sr_model.measure.border_search import Place, changes_values, near_of, search_borders
from sr_model.measure.small_copy import (
    LONGEST_PX,
    Mask,
    SmallCopy,
    Values,
    level_of_copy,
    shape_of_copy,
    where_valid,
)
from sr_model.measure.value_range import find_range, range_of_type

# A photograph without overviews is read whole up to this size.
_MOST_READ_PX: Final = 256_000_000
# Points along a window at which places are projected.
_LATTICE: Final = 17
_STRUCTURE: Final = "IMAGE_STRUCTURE"


@dataclass(frozen=True, eq=False)
class Hidden:
    """Pixels of a photograph that show a border.

    Attributes:
        mask: bool [height, width] of a small copy, or of the photograph itself.
        transform: from the mask's pixels to the photograph's CRS.
        values: those of the borders.
    """

    mask: Mask
    transform: Affine
    values: tuple[float, ...]

    def on(self, transform: Affine, side_px: int, crs: tuple[CRS, CRS]) -> Mask:
        """Where a square window of another grid shows a border, bool [side, side].

        Args:
            transform: of the window.
            side_px: its side.
            crs: of the photograph, and of the window.
        """
        # Projections bend so little over a window that lines between some of its points are exact.
        at = np.linspace(0.5, side_px - 0.5, _LATTICE)
        columns, rows = np.meshgrid(at, at)
        xs, ys = transform @ (columns.ravel(), rows.ravel())
        xs, ys = warp_transform(crs[1], crs[0], xs.tolist(), ys.tolist())[:2]
        across, down = ~self.transform @ (np.array(xs), np.array(ys))
        between = np.linspace(0, _LATTICE - 1, side_px)
        places = np.meshgrid(between, between, indexing="ij")
        row, column = (
            np.floor(map_coordinates(one.reshape(_LATTICE, _LATTICE), places, order=1)).astype(np.int64)
            for one in (down, across)
        )
        height, width = self.mask.shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found: Mask = np.zeros((side_px, side_px), np.bool_)
        found[inside] = self.mask[row[inside], column[inside]]
        return found


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in a photograph.

    Attributes:
        hidden: its borders; None without any.
        copy: a small copy, in which they are hidden; None if it is too large to be read without overviews.
        declared: the lowest and highest value that the file says it can have; None if it does not.
        is_negative: whether low values are white.
    """

    hidden: Hidden | None
    copy: SmallCopy | None
    declared: tuple[float, float] | None
    is_negative: bool

    @property
    def is_constant(self) -> bool:
        """Whether all that is seen of it has one value."""
        if self.copy is None or not self.copy.valid.any():
            return False
        shown = self.copy.values[self.copy.valid]
        return bool(shown.min() == shown.max())

    def range(self) -> tuple[float, float] | None:
        """Values of which 0.1 % of the photograph are darker and brighter; None if nothing of it can be seen."""
        if self.copy is None or not self.copy.valid.any():
            return None
        return find_range(self.copy)


def look_at(source: Any, bands: tuple[int, ...], nodata: float | None, *, borders: bool) -> Found:
    """Look for borders and read a small copy.

    Args:
        source: an open raster.
        bands: that are shown.
        nodata: the value without a picture, or None.
        borders: whether borders without a tag are looked for.

    Raises:
        rasterio.errors.RasterioError, OSError: a block cannot be read.
    """
    tags = source.tags(ns=_STRUCTURE)
    bits = str(source.tags(1, ns=_STRUCTURE).get("NBITS", ""))
    dtype = np.dtype(source.dtypes[bands[0] - 1])
    declared = range_of_type(np.dtype(source.dtypes[0]), int(bits) if bits.isdigit() else None)
    negative = str(tags.get("MINISWHITE", "")).upper() == "YES"
    copy = _small_copy(source, bands, nodata) if dtype.kind in "uif" else None
    if copy is None:
        return Found(None, None, declared, negative)
    lossy = changes_values(
        str(tags.get("COMPRESSION", "")), str(tags.get("COMPRESSION_REVERSIBILITY", "")), source.driver
    )

    def read(place: Place) -> tuple[Values, Mask] | None:
        row, column, height, width = place
        with suppress(RasterioError, OSError):
            return _values(source, bands, nodata, Window(column, row, width, height))
        return None

    found = list(
        search_borders(copy, declared, nodata, read, _pieces, shape=source.shape, lossy=lossy, look=borders)
    )
    if not found:
        return Found(None, copy, declared, negative)
    mask = np.zeros(copy.valid.shape, np.bool_)
    for border in found:
        # Where the copy is reduced, its own pixels have to tell: a chip that touches a border is left out anyway.
        mask |= border.hidden_in(copy.values, border.region, near_of(border, copy.factor))
    down, across = copy.factor
    hidden = Hidden(mask, source.transform @ Affine.scale(across, down), tuple(b.value for b in found))
    return Found(hidden, SmallCopy(copy.values, copy.valid & ~mask, copy.factor), declared, negative)


def _pieces(mask: Mask) -> Iterator[Any]:
    """The connected pieces of bool [height, width] as GeoJSON polygons, in pixels."""
    return (geometry for geometry, _ in features.shapes(mask.astype(np.uint8), mask=mask))


def _small_copy(source: Any, bands: tuple[int, ...], nodata: float | None) -> SmallCopy | None:
    """Samples of the whole photograph that were not averaged; None if it is too large without overviews."""
    level = level_of_copy(source.shape, source.overviews(1))
    if level is None:
        if max(source.shape) > LONGEST_PX and source.width * source.height > _MOST_READ_PX:
            return None
        return _copy_of(source, source.shape, bands, nodata)
    with rasterio.open(source.name, overview_level=level) as overview:
        return _copy_of(overview, source.shape, bands, nodata)


def _copy_of(source: Any, full: tuple[int, int], bands: tuple[int, ...], nodata: float | None) -> SmallCopy:
    height, width = shape_of_copy(source.shape)
    values, valid = _values(source, bands, nodata, None, (height, width))
    return SmallCopy(values, valid, (full[0] / height, full[1] / width))


def _values(
    source: Any,
    bands: tuple[int, ...],
    nodata: float | None,
    window: Window | None,
    shape: tuple[int, int] | None = None,
) -> tuple[Values, Mask]:
    """Values [height, width, bands] of a window, or of all, and where they are valid."""
    how: dict[str, Any] = {"window": window}
    read = source.read(list(bands), **how, **({"out_shape": (len(bands), *shape)} if shape else {}))
    mask: npt.NDArray[np.bool_] | None = None
    has_alpha = ColorInterp.alpha in source.colorinterp and source.nodata is None
    if has_alpha or MaskFlags.per_dataset in source.mask_flag_enums[0]:
        mask = source.dataset_mask(**how, **({"out_shape": shape} if shape else {})) > 0
    values = np.moveaxis(read, 0, 2)
    return values, where_valid(values, nodata, mask)
