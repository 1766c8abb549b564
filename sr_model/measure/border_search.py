"""The search for a photograph's borders, the same in serving and in training; callers read the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from sr_model.measure.borders import (
    RINGING_PX,
    Border,
    Sample,
    confirm,
    find_borders,
    rim_of_nodata,
)
from sr_model.measure.small_copy import Mask, SmallCopy, Values, dilated, spread
from sr_model.measure.straight_lines import Outlines

# Row, column, height and width of a window of full size.
Place = tuple[int, int, int, int]
# Reads a window of full size: its values, and what of it the file shows; None where it cannot be read.
ReadWindow = Callable[[Place], tuple[Values, Mask] | None]

# Windows of full size in which the rim of a border is measured, and their size.
_SAMPLES: Final = 12
_SAMPLE_PX: Final = 96
# Compressions that change values, as GDAL names them.
_LOSSY: Final = ("JPEG", "WEBP", "JXL", "JPEG2000", "LERC")
# A border may lie this far from where a small copy shows it, in pixels of the copy.
_COPY_REACH: Final = 2


def changes_values(compression: str, reversibility: str, driver: str) -> bool:
    """Whether a file says that its compression changes values.

    Args:
        compression, reversibility: GDAL's tags COMPRESSION and COMPRESSION_REVERSIBILITY of IMAGE_STRUCTURE.
        driver: the name of GDAL's driver.
    """
    if "LOSSLESS" in reversibility.upper().split(" "):
        return False
    return any(name in compression.upper() for name in _LOSSY) or driver in ("JPEG", "WEBP")


def search_borders(
    copy: SmallCopy,
    declared: tuple[float, float] | None,
    nodata: float | None,
    read: ReadWindow,
    outlines: Outlines,
    *,
    shape: tuple[int, int],
    lossy: bool,
    look: bool,
) -> Iterator[Border]:
    """The borders of a photograph, measured at full size; first the rim of its nodata value, if that is frayed.

    Args:
        copy: the whole photograph.
        declared: the lowest and highest value that the file can have; None if it does not tell.
        nodata: its nodata value, or None.
        read: of windows of full size.
        outlines: of a mask.
        shape: rows and columns of the photograph.
        lossy: whether its compression changes values.
        look: whether borders without a tag are looked for.
    """

    def confirmed(border: Border) -> Border | None:
        return confirm(border, _samples(copy, border, read, shape), lossy=lossy)

    if nodata is not None and copy.valid.any():
        shown = copy.values[copy.valid]
        low, high = declared or (float(shown.min()), float(shown.max()))
        rim = rim_of_nodata(copy, nodata, (high - low) / 255)
        if rim is not None and (frayed := confirmed(rim)) is not None:
            yield frayed
    if look:
        for border in find_borders(copy, declared, outlines):
            if (found := confirmed(border)) is not None:
                yield found


def near_of(border: Border, factor: tuple[float, float]) -> Mask:
    """Where a border may lie: its region in the small copy, grown by what its rim may be away from it."""
    full_size = factor == (1.0, 1.0)
    if full_size and border.fringe <= border.tolerance:
        return border.region
    ringing = int(np.ceil(2 * RINGING_PX / min(factor)))
    return dilated(border.region, 2 * RINGING_PX if full_size else _COPY_REACH + ringing)


def _samples(copy: SmallCopy, border: Border, read: ReadWindow, shape: tuple[int, int]) -> list[Sample]:
    """Windows of full size along the rim of a border; the whole photograph where the copy is of full size."""
    if copy.is_full_size:
        return [(copy.values, border.region, copy.valid)]
    rim = border.region & dilated(~border.region, 1)
    rows, columns = np.nonzero(rim)
    samples: list[Sample] = []
    near = dilated(border.region, 2)
    for index in np.unique(np.linspace(0, len(rows) - 1, _SAMPLES).astype(int)) if len(rows) else ():
        place = _around(shape, rows[index] * copy.factor[0], columns[index] * copy.factor[1])
        if (found := read(place)) is not None:
            samples.append((found[0], spread(near, place, copy.factor), found[1]))
    return samples


def _around(shape: tuple[int, int], row: float, column: float) -> Place:
    height, width = min(_SAMPLE_PX, shape[0]), min(_SAMPLE_PX, shape[1])
    top = min(max(0, round(row) - height // 2), shape[0] - height)
    left = min(max(0, round(column) - width // 2), shape[1] - width)
    return top, left, height, width
