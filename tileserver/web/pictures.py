"""Pictures of any rectangle of a layer, for WMS and OGC API Maps: drawn from the pixels of its tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS

from sr_model import PixelWindow
from tileserver.errors import OutsideError
from tileserver.tiling.encode import Extension, encode
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import Layer
from tileserver.tiling.raster import Raster
from tileserver.web.layer_reader import LayerInput, LayerReader
from tileserver.web.tile_endpoint import TileEndpoint

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class PictureRequest:
    """A picture that a client asks for.

    Attributes:
        layer: name of the layer.
        crs: CRS of the picture.
        bounds: its ground, x before y.
        bounds_crs: CRS of `bounds`.
        width, height: its size in pixels; one that is None follows from the other, both from `max_size`.
        max_size: longest side in pixels where neither is given.
        extension: its format.
        background: colour, red, green and blue, of pixels without data; None to leave them transparent.
    """

    layer: Layer
    crs: CRS
    bounds: BBox
    bounds_crs: CRS
    width: int | None
    height: int | None
    extension: Extension
    background: Colour | None
    max_size: int | None = None


@dataclass(frozen=True)
class Picture:
    """An encoded picture, and its ground in the CRS that was asked for."""

    body: bytes
    bounds: BBox


def draw(endpoint: TileEndpoint, wanted: PictureRequest) -> Picture:
    """Return the encoded picture; outside the photograph, a blank one, as WMS wants it.

    Raises:
        OutsideError: it lies outside the photograph, and its size is not given.
        BadParameterError: it is too large, or the CRS does not fit.
        TileServerError: as `TileService.picture`.
    """
    sizes = {"width": wanted.width, "height": wanted.height, "max_size": wanted.max_size}
    bounds = wanted.bounds
    try:
        with endpoint.running, LayerReader(LayerInput(endpoint.service, wanted.layer)) as reader:
            image = reader.part(wanted.bounds, wanted.crs, wanted.bounds_crs, **sizes)
        window = PixelWindow(0, 0, image.width, image.height)
        raster = Raster(window, np.moveaxis(image.data, 0, 2), image.mask).masked()
        if image.bounds is not None:
            bounds = BBox(*image.bounds)
    except OutsideError:
        if not (wanted.width and wanted.height):
            raise
        raster = Raster.blank(PixelWindow(0, 0, wanted.width, wanted.height))
    if wanted.background is not None:
        coloured = np.where(raster.mask[..., None] != 0, raster.rgb, np.array(wanted.background, np.uint8))
        raster = Raster(raster.window, coloured, np.full_like(raster.mask, 255))
    packet = endpoint.service.mark(wanted.layer)
    return Picture(encode(raster, wanted.extension, packet=packet), bounds)
