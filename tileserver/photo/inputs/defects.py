"""What is wrong with a photograph's file, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.commands import MendedFile
from tileserver.photo.inputs.naming import is_remote
from tileserver.photo.inputs.prepare import Prepared
from tileserver.photo.notice import Notice
from tileserver.photo.virtual import alpha_band

_SMALL_PX: Final = 512
# A band tagged as alpha is taken for an image if a sample of this size has more distinct values than this.
_SAMPLE_PX: Final = 256
_MAX_ALPHA_VALUES: Final = 64


def file_notices(dataset: DatasetReader, prepared: Prepared) -> Iterator[Notice]:
    """Yield what is wrong with a single photograph; a mosaic warns of its sheets itself.

    Args:
        dataset: what is read of it, open.
        prepared: where it comes from.
    """
    if not prepared.sampled:
        return
    with open_dataset(prepared.sampled) as own:
        file = MendedFile.of_photograph(prepared.sampled, own, prepared.crs)
        if max(dataset.width, dataset.height) > _SMALL_PX and not dataset.overviews(1):
            command = file.add_overviews().command
            # A URL may hold a signature, which does not belong into a log.
            way_out = (
                "orthosharp info prints the command that copies it with overviews"
                if is_remote(prepared.sampled)
                else f"Add them with: {command}"
            )
            text = f"the photograph has no overviews, so low zooms will be slow. {way_out}"
            yield Notice("no-overviews", text, command)
        band = _false_alpha(dataset)
        if band is not None:
            yield Notice(
                "image-tagged-as-alpha",
                f"band {band} is tagged as alpha but looks like an image, and hides pixels. If it is infrared, "
                f"run: gdal_edit.py -colorinterp_{band} undefined FILE",
                file.make_image_band(band).command,
            )


def with_commands(notices: Iterable[Notice], prepared: Prepared) -> Iterator[Notice]:
    """Add the command that makes overviews again to the notice that they show what the photograph hides."""
    for notice in notices:
        if notice.code == "overviews-without-mask" and prepared.sampled:
            with open_dataset(prepared.sampled) as own:
                file = MendedFile.of_photograph(prepared.sampled, own, prepared.crs)
                yield Notice(notice.code, notice, file.remake_overviews().command)
        else:
            yield notice


def _false_alpha(dataset: DatasetReader) -> int | None:
    """Return the number of a band tagged as alpha that looks like an image, as infrared often is; else None."""
    number = alpha_band(dataset)
    if number is None:
        return None
    side = min(_SAMPLE_PX, dataset.width, dataset.height)
    middle = Window((dataset.width - side) // 2, (dataset.height - side) // 2, side, side)
    try:
        with gdal_errors():
            values = dataset.read(number, window=middle)
    except RasterioError:
        return None  # a damaged block is reported when a tile needs it
    # A real alpha band has few values: 0, 255, and some between them at soft edges.
    return number if len(np.unique(values)) > _MAX_ALPHA_VALUES else None
