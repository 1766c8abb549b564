"""Blur, unsharp mask and grain of a photograph of a pair: what it resolves, as the server will see it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from rasterio.transform import Affine

from sr_model.measure import PhotoTraits, estimate_blur_and_halo
from sr_model.pixels import LUMA
from training.pairs.grid import open_photo
from training.pairs.photo import Photo
from training.pairs.reading import Read

# Windows along each side of a photograph, and the side of each.
_WINDOWS: Final = 4
_WINDOW_PX: Final = 512
_LUMA: Final = np.array(LUMA, np.float32)


def measure_traits(path: Path, read: Read) -> PhotoTraits:
    """A photograph's blur, unsharp mask and grain, in its own pixels, from windows spread over it.

    Raises:
        PairError: it is damaged.
    """
    with open_photo(path) as source:
        transform, shape = source.transform, source.shape
    side = min(_WINDOW_PX, *shape)
    starts = [sorted({int(at) for at in np.linspace(0, length - side, _WINDOWS)}) for length in shape]
    windows = []
    with Photo(path, read.crs, read) as photo:
        for row in starts[0]:
            for column in starts[1]:
                rgb, valid = photo.read(transform @ Affine.translation(column, row), side)
                # Collars without a tag are black or white.
                shown = valid & (rgb.max(2) > 3) & (rgb.min(2) < 255)
                windows.append(np.where(shown, rgb.astype(np.float32) @ _LUMA, np.nan).astype(np.float32))
    return estimate_blur_and_halo(windows)
