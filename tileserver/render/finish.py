"""Optional adjustments of restored pixels: contrast, and the old photograph's own colours (`--tone old`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from sr_model.colour_map import ColourMap
from tileserver.tiling.raster import UInt8Array

Float32Array = npt.NDArray[np.float32]

# Colours are compared as means of blocks of this size, smoothed by a Gaussian of this sigma, cut off at this distance.
BLOCK_PX: Final = 8
_SIGMA_BLOCKS: Final = 2.0
_REACH_BLOCKS: Final = 4
# The grey level that contrast does not change; the same for all tiles, since a pivot per tile would cause seams.
_PIVOT: Final = 128.0


@dataclass(frozen=True)
class Finish:
    """Adjustment of restored pixels.

    Attributes:
        contrast: factor around middle grey; 1 changes nothing.
        tone: whose colours the pixels have: `model` keeps the network's; `old` brings back the old photograph's
             low-frequency colours and keeps the network's detail.
        colour_map: the photograph's one map of colours, applied last, and to overviews alike.
    """

    contrast: float = 1.0
    tone: Literal["model", "old"] = "model"
    colour_map: ColourMap = ColourMap()  # noqa: RUF009 - frozen

    @property
    def total_contrast(self) -> float:
        """Factor around middle grey, of the map of colours or not."""
        return self.contrast * self.colour_map.contrast

    @property
    def reach_px(self) -> int:
        """Distance in pixels up to which surrounding pixels affect a pixel's colour."""
        return (_REACH_BLOCKS + 2) * BLOCK_PX if self.tone == "old" else 0

    def apply(self, old: UInt8Array, restored: UInt8Array) -> UInt8Array:
        """Adjust the restored pixels of a window.

        Args:
            old: uint8 [height, width, 3], the network's input. The window's origin in its zoom's grid and its size
                are multiples of BLOCK_PX.
            restored: uint8 of the same shape, the network's output.

        Returns:
            uint8 of the same shape.
        """
        return self.colour_map.apply(self._toned(old, restored))

    def _toned(self, old: UInt8Array, restored: UInt8Array) -> UInt8Array:
        if self.contrast == 1 and self.tone == "model":
            return restored
        picture = restored.astype(np.float32)
        if self.tone == "old":
            picture += _smooth(old.astype(np.float32) - picture)
        if self.contrast != 1:
            picture = (picture - _PIVOT) * np.float32(self.contrast) + _PIVOT
        finished: UInt8Array = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
        return finished


def _smooth(change: Float32Array) -> Float32Array:
    """Return the low-frequency part of float32 [height, width, 3]."""
    height, width = change.shape[:2]
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    means = change.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3).mean(axis=(1, 3))
    sigma = (_SIGMA_BLOCKS, _SIGMA_BLOCKS, 0)
    coarse = gaussian_filter(means, sigma, mode="nearest", truncate=_REACH_BLOCKS / _SIGMA_BLOCKS)
    bands = [
        np.asarray(Image.fromarray(coarse[..., band]).resize((width, height), Image.Resampling.BILINEAR))
        for band in range(3)
    ]
    return np.stack(bands, axis=2)
