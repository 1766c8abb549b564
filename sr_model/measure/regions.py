"""Regions of a picture, bool [height, width]: what is connected to its edge, beside them, or a speck in them."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from sr_model.measure.small_copy import Mask, dilated

CROSS: Final = ndimage.generate_binary_structure(2, 1)
# Specks of picture inside a border that are no larger are ringing too.
_SPECK_PX: Final = 128


def from_edge(near: Mask, hidden: Mask) -> Mask:
    """What of `near` is connected to the edge of the picture, through what is hidden already if need be."""
    joined = near | hidden
    pieces, count = ndimage.label(joined, CROSS)
    touching = np.zeros(count + 1, np.bool_)
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        touching[side] = True
    touching[0] = False
    connected: Mask = touching[pieces] & near
    return connected


def corners_in(region: Mask, valid: Mask) -> int:
    """How many corners of what the file shows lie in a region."""
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    shown = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return sum(bool(shown[row, column]) for row in (0, -1) for column in (0, -1))


def ring(region: Mask, valid: Mask, inner_px: int, outer_px: int) -> Mask:
    """Picture at a distance from a region."""
    inner = dilated(region, inner_px - 1)
    outer = dilated(region, outer_px)
    ring: Mask = outer & ~inner & valid
    return ring


def without_specks(hidden: Mask, most_px: int = _SPECK_PX) -> Mask:
    """A region with the holes of at most so many pixels filled."""
    pieces, count = ndimage.label(~hidden, CROSS)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    specks = sizes <= most_px
    specks[0] = False
    # A piece at the edge of the window goes on beyond it.
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        specks[side] = False
    filled: Mask = hidden | specks[pieces]
    return filled
