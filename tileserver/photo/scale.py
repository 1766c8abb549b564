"""The pixel size that a photograph is restored at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tileserver.tiling.grid import nearest_zoom

# Zooms are powers of two of one another, computed in floating point.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class OutputScale:
    """The pixel size on the ground that a network is asked for.

    Attributes:
        gsd_m: the pixel size that suits network and photograph best, in metres.
        coarsest_m: the largest pixel size that loses nothing of the photograph, in metres; infinite where the
            network decides alone.
    """

    gsd_m: float
    coarsest_m: float = math.inf

    def native_zoom(self, gsd_at_zoom0_m: float) -> int:
        """Return the zoom whose pixels are nearest to `gsd_m` in octaves, and not coarser than `coarsest_m`.

        Args:
            gsd_at_zoom0_m: pixel size of zoom 0 on the ground, in metres.
        """
        zoom = nearest_zoom(gsd_at_zoom0_m, self.gsd_m)
        while math.ldexp(gsd_at_zoom0_m, -zoom) > self.coarsest_m * (1 + _ROUNDING):
            zoom += 1
        return zoom
