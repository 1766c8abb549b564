"""Whether a raster is whole: of a file that was cut short, the blocks at its end cannot be read."""

from __future__ import annotations

import math

from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window


def probe(dataset: DatasetReader) -> None:
    """Read the first pixel of a raster and the last one, of all bands, its mask and every overview.

    Files hold one band after the other, and overviews after the pixels, so that each of them may be what is missing.

    Raises:
        rasterio.errors.RasterioError, OSError: one cannot be read.
    """
    dataset.read(1, window=Window(0, 0, 1, 1))
    last = Window(dataset.width - 1, dataset.height - 1, 1, 1)
    dataset.read(window=last)
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        dataset.read_masks(1, window=last)
    for factor in dataset.overviews(1):
        # So many pixels read as one are one pixel of the overview.
        width, height = (min(math.ceil(factor), side) for side in (dataset.width, dataset.height))
        corner = Window(dataset.width - width, dataset.height - height, width, height)
        dataset.read(window=corner, out_shape=(dataset.count, 1, 1))
