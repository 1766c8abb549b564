"""How long the chips of a site take: a few of them are registered and cut, and thrown away."""

from __future__ import annotations

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from training.measure.register import LocalShift
from training.pairs.grid import Common
from training.pairs.photo import Photo
from training.pairs.site_chips import SiteChips

_TRIED: Final = 3


def seconds_per_chip(old: Path, new: Path, common: Common, max_shift_m: float) -> float:
    """Seconds in which one thread registers and cuts a chip.

    Args:
        old, new: the photographs.
        common: their grid, with the chips' size.
        max_shift_m: longest shift to look for.

    Raises:
        PairError: a photograph is damaged.
    """
    grid = common.grid
    keys = list(grid.chips())
    spread = np.linspace(0, len(keys) - 1, min(_TRIED, len(keys))).round().astype(int)
    chosen = [keys[i] for i in sorted({int(i) for i in spread})]
    reach_px = math.ceil(max_shift_m / max(2 * grid.gsd_m, grid.old_gsd_m)) + 1
    with (
        TemporaryDirectory() as folder,
        Photo(old, grid.crs, common.old) as old_photo,
        Photo(new, grid.crs, common.new) as new_photo,
    ):
        out = Path(folder)
        for side in ("old", "new"):
            (out / side).mkdir()
        site = SiteChips(grid, chosen, old_photo, new_photo, out)
        # Four windows to a chip, which neighbours share where they overlap.
        shared = min(1.0, grid.step_px / grid.size_px)
        windows = max(1, round(4 * shared * shared))
        begun = time.monotonic()
        for index in range(len(chosen)):
            site.coarse_surface(index, reach_px)
            site.cut(index, LocalShift())
        for place in range(min(windows * len(chosen), len(site.places))):
            for coarsen in (site.coarsen, 1.0):
                site.surface(place, LocalShift(), coarsen)
        return (time.monotonic() - begun) / len(chosen)
