"""How much of the line between a border and the picture beside it is straight: edges of sheets are, shores are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np
import shapely
from scipy import ndimage
from shapely.geometry import shape

from sr_model.measure.small_copy import Mask

# The connected pieces of a mask [height, width] as GeoJSON polygons along its pixels' edges, in pixels.
Outlines = Callable[[Mask], Iterable[Any]]

# A straight piece is at least so much of the shorter side, and its line is no farther from the outline.
_PIECE: Final = 0.12
_WITHIN_PX: Final = 2.0
_WITHIN: Final = 0.003


def straightness(region: Mask, valid: Mask, outlines: Outlines) -> tuple[float, int]:
    """Share of the line between a region and the picture that is straight, and the number of straight pieces.

    The edge of the file does not count, nor do small islands such as words in a margin.
    """
    picture = ndimage.binary_fill_holes(valid & ~region)
    least = 0.01 * max(1, int(picture.sum()))
    height, width = region.shape
    long = _PIECE * min(height, width)
    within = max(_WITHIN_PX, _WITHIN * min(height, width))
    straight = total = 0.0
    pieces = 0
    for geometry in outlines(picture):
        polygon: Any = shape(geometry)
        if polygon.area < least:
            continue
        line = shapely.simplify(polygon.exterior, within).coords
        for (x0, y0), (x1, y1) in pairwise(line):
            on_edge = (x0 == x1 and x0 in (0, width)) or (y0 == y1 and y0 in (0, height))
            length = float(np.hypot(x1 - x0, y1 - y0))
            if on_edge or length == 0:
                continue
            total += length
            if length >= long:
                straight, pieces = straight + length, pieces + 1
    return (straight / total if total else 0.0), pieces
