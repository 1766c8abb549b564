"""Encodes what titiler's routes have read: with the layer's mark of AI, and adjusted where that was asked for."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from rasterio.io import MemoryFile
from rio_tiler.models import ImageData
from titiler.core.resources.enums import ImageType

from sr_model import PixelWindow
from tileserver.errors import OutsideError
from tileserver.tiling.encode import MEDIA_TYPES, Extension, encode
from tileserver.tiling.raster import Raster
from tileserver.tiling.xmp import tiff_tags
from tileserver.web.options import Adjustment

_EXTENSIONS: Final[dict[str, Extension]] = {"png": "png", "webp": "webp", "jpg": "jpg", "jpeg": "jpg"}


def render(
    image: ImageData,
    packet: bytes,
    output_format: ImageType | None = None,
    colormap: None = None,
    **adjustment: Any,
) -> tuple[bytes, str]:
    """Return an encoded picture and its media type.

    Args:
        image: three bands of 8 bits.
        packet: XMP; empty for none.
        output_format: PNG if None and pixels are missing, else JPEG.
        colormap: always None; titiler passes it.
        adjustment: fields of `Adjustment`.

    Raises:
        OutsideError: the format is not served.
        BadParameterError: as `Adjustment.apply`.
    """
    del colormap
    window = PixelWindow(0, 0, image.width, image.height)
    raster = Adjustment(**adjustment).apply(
        Raster(window, np.moveaxis(image.data, 0, 2), image.mask).masked()
    )
    if output_format == ImageType.tif:
        return _geotiff(image, raster, packet), output_format.mediatype
    name = output_format.value if output_format else ("jpg" if raster.is_full else "png")
    if name not in _EXTENSIONS:
        raise OutsideError(f"format {name} is not served: use png, jpg, webp or tif")
    extension = _EXTENSIONS[name]
    # A JPEG without a pixel would be empty.
    if extension == "jpg" and raster.is_empty:
        white = np.full_like(raster.rgb, 255)
        raster = Raster(window, white, np.full_like(raster.mask, 255))
    return encode(raster, extension, packet=packet), MEDIA_TYPES[extension]


def _geotiff(image: ImageData, raster: Raster, packet: bytes) -> bytes:
    height, width = raster.mask.shape
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint8", "width": width, "height": height}
    place = {"crs": image.crs, "transform": image.transform}
    with MemoryFile() as file:
        with file.open(**profile, **place, photometric="RGB", alpha="unassociated") as dataset:
            dataset.write(np.moveaxis(np.dstack([raster.rgb, raster.mask]), 2, 0))
            if packet:
                dataset.update_tags(ns="xml:XMP", **tiff_tags(packet))
        body: bytes = file.read()
    return body
