"""The chips of a site: both photographs on one grid, compared window by window, and cut."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr_model.atomic import write_atomic
from training.measure.flat_fill import WIDE_PX, black_share, filled_share
from training.measure.register import (
    EDGE_SIGMA_PX,
    LocalShift,
    correlation_surface,
    read_shift,
    window_places,
)
from training.pairs.change import BLUR_PX, change_score
from training.pairs.grid import Grid
from training.pairs.photo import Photo
from training.pairs.selection import Key

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# Black wedges and collars of one colour have no nodata tag; a chip with more of them than this is dropped.
_MAX_BLACK: Final = 0.005
_MAX_FLAT: Final = 0.02
# What `SiteChips.cut` says of a chip that shows nothing, ground, or a fill.
EMPTY, USABLE, FILLED = 0.0, 1.0, 2.0
# How far the fine shift may lie from the coarse one, and the finished chip's from none.
FINE_REACH_PX: Final = 8
# Windows lie this share of a chip away from its centre, four to a chip; neighbours that overlap share them.
_WINDOW_OFFSET: Final = 0.25
# A window that shows less ground says nothing.
_LEAST_VALID: Final = 0.5


class SiteChips:
    """Both photographs on one grid, with the measurements and the pictures of each chip."""

    def __init__(self, grid: Grid, keys: list[Key], old: Photo, new: Photo, out: Path) -> None:
        self.grid, self.keys, self.old, self.new, self.out = grid, keys, old, new, out
        self.centres: Float64Array = np.array([grid.centre_px(*key) for key in keys])
        self.places = window_places(self.centres, _WINDOW_OFFSET * grid.size_px)
        self.ratio = grid.old_gsd_m / grid.gsd_m
        # Coarse pixels are the old photo's, or twice the grid's.
        self.coarsen = max(2.0, self.ratio)
        # Both blurs fit old pixels of up to two of the grid's.
        self.softness = max(1.0, self.ratio / 2)
        self.sigma_px = self.softness * EDGE_SIGMA_PX
        self.fills = old.fills(WIDE_PX / self.ratio), new.fills(WIDE_PX)

    def coarse_surface(self, index: int, reach_px: int) -> Float32Array:
        """Correlation surface, in coarse pixels, of a window twice as wide as the chip."""
        side = max(2 * math.ceil(self.grid.size_px / self.coarsen), 2 * reach_px + 2)
        window = self.grid.window(tuple(self.centres[index]), side, coarsen=self.coarsen)
        return correlation_surface(self.old.read(window, side)[0], self.new.read(window, side)[0], reach_px)

    def surface(self, index: int, shift: LocalShift, coarsen: float) -> Float32Array:
        """Correlation surface of a window as wide as a chip, the old photo read where the shift says."""
        # Where the old photo is very coarse, a chip has fewer pixels than shifts are looked for.
        side = max(math.ceil(self.grid.size_px / coarsen), 2 * FINE_REACH_PX + 2)
        place = tuple(self.places[index])
        old, old_valid = self.old.read(self.grid.window(place, side, shift, coarsen), side)
        new, new_valid = self.new.read(self.grid.window(place, side, coarsen=coarsen), side)
        valid = old_valid & new_valid
        if valid.mean() < _LEAST_VALID:
            return np.zeros((2 * FINE_REACH_PX + 1,) * 2, np.float32)
        sigma_px = EDGE_SIGMA_PX if coarsen > 1 else self.sigma_px
        return correlation_surface(old, new, FINE_REACH_PX, sigma_px, valid)

    def cut(self, index: int, shift: LocalShift) -> Float32Array:
        """Write a chip's two pictures; returns what it shows, change and what shift is left, float32 [5]."""
        centre, size = tuple(self.centres[index]), self.grid.size_px
        # The shift moves and shears the reading window, so that the old photo is resampled once and not twice.
        old, valid = self.old.read(self.grid.window(centre, size, shift), size)
        new, new_valid = self.new.read(self.grid.window(centre, size), size)
        black = max(black_share(old), black_share(new))
        if not (valid.all() and new_valid.all() and black <= _MAX_BLACK):
            return np.array([EMPTY, 0, 0, 0, 0], np.float32)
        filled = max(filled_share(old, self.fills[0]), filled_share(new, self.fills[1]))
        if filled > _MAX_FLAT:
            return np.array([FILLED, 0, 0, 0, 0], np.float32)
        for folder, rgb in (("old", old), ("new", new)):
            picture = Image.fromarray(rgb)
            write_atomic(
                self.out / folder / f"{chip_name(self.keys[index])}.png",
                partial(picture.save, format="png", compress_level=1),
            )
        left = read_shift(correlation_surface(old, new, FINE_REACH_PX, self.sigma_px))
        change = change_score(old, new, self.softness * BLUR_PX)
        return np.array([USABLE, change, left.dx_px, left.dy_px, left.confidence], np.float32)


def chip_name(key: Key) -> str:
    """`0003_0012` for column 3, row 12."""
    return f"{key[0]:04d}_{key[1]:04d}"
