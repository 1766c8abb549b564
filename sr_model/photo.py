"""Properties of the photograph that a window shows, which the model needs beside its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoContext:
    """Properties of a whole photograph: they must be the same for all its windows, or there would be seams.

    Attributes:
        ratio: its resolution over the pixel size of the output, see `ModelSpec.ratio_of`; the filters that keep its
            colours widen with it.
        grey: whether it is black and white: its restored picture then has three equal bands.
        halo_amount: amount of the unsharp mask to undo before the network sees the photograph, or 0.
        halo_radius_px: deviation of that mask's Gaussian, in pixels of the photograph.
    """

    ratio: float = 2.0
    grey: bool = False
    halo_amount: float = 0.0
    halo_radius_px: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio < math.inf:
            raise ValueError(f"the ratio of pixel sizes must be positive, got {self.ratio}")
        if not (0 <= self.halo_amount < math.inf and 0 < self.halo_radius_px < math.inf):
            raise ValueError(
                f"an unsharp mask of amount {self.halo_amount} and radius {self.halo_radius_px} px cannot be undone"
            )

    @property
    def halo_sigma_px(self) -> float:
        """Deviation of the mask's Gaussian in pixels of the output."""
        return self.halo_radius_px * self.ratio
