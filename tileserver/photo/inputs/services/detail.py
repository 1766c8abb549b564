"""The pixel size of a photograph behind a service, whose grids say how far they go, not how sharp it is."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tileserver.errors import ReadError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.services.enlargement import is_enlarged
from tileserver.photo.inputs.services.gateway import Gateway
from tileserver.photo.inputs.services.levels import ServiceLayer
from tileserver.photo.inputs.services.raster import ServiceRaster
from tileserver.photo.traits import choose_windows, read_luminance

# Pixels at which the search begins, in metres: coarser than most photographs from the air.
_START_M: Final = 2.0
# Bands of a service's raster that are shown, and their range.
_SHOWN: Final = ((1, 2, 3), (0.0, 255.0))
_WINDOWS: Final = 4
_WINDOW_PX: Final = 512
# Levels that a template may lack are taken for absent if fewer of the sampled pixels are there.
_LEAST_SHARE: Final = 0.05
# Statuses of a service that is busy or away, whatever the zoom.
_AWAY: Final = (429, 503, 504)

Luminance = npt.NDArray[np.float32]


def find_base(layer: ServiceLayer, gateway: Gateway) -> int:
    """Return the number of the coarsest level that keeps all the detail that the photograph has.

    A few windows are looked at, level by level, from coarse to fine, until one is only enlarged; see `is_enlarged`.

    Raises:
        rasterio.errors.RasterioError, ReadError: the service cannot be read.
    """
    sizes = [layer.gsd_m(level) for level in layer.levels]
    start = max((i for i, size in enumerate(sizes) if size <= _START_M), default=0)
    places = _places(layer, start, gateway)
    number = start
    while number > 0:
        try:
            windows = _windows(layer, number - 1, gateway, places)
        except (RasterioError, ReadError):
            if layer.are_certain or gateway.last_status in _AWAY:
                raise
            break  # services answer whatever they like beyond their last zoom
        if not windows or is_enlarged(windows):
            break
        number -= 1
    return number


def _places(layer: ServiceLayer, number: int, gateway: Gateway) -> list[tuple[float, float]]:
    """Places with strong edges, in units of the CRS."""
    raster = ServiceRaster(layer, number, gateway)
    try:
        with gdal_errors(), open_dataset(raster.path) as dataset:
            bands, rescale = _SHOWN
            windows = choose_windows(dataset, bands=bands, rescale=rescale, count=_WINDOWS)
            return [
                dataset.transform * (window.col_off + window.width / 2, window.row_off + window.height / 2)
                for window in windows
            ]
    finally:
        raster.close()


def _windows(
    layer: ServiceLayer, number: int, gateway: Gateway, places: list[tuple[float, float]]
) -> list[Luminance]:
    """Windows of a level at some places, float32 [h, w], 0 to 255; none if the level shows nothing there."""
    raster = ServiceRaster(layer, number, gateway)
    try:
        with gdal_errors(), open_dataset(raster.path) as dataset:
            luminances = []
            for place in places:
                column, row = ~dataset.transform * place
                left = min(max(0, round(column) - _WINDOW_PX // 2), max(0, dataset.width - _WINDOW_PX))
                top = min(max(0, round(row) - _WINDOW_PX // 2), max(0, dataset.height - _WINDOW_PX))
                size = min(_WINDOW_PX, dataset.width), min(_WINDOW_PX, dataset.height)
                luminances.append(read_luminance(dataset, *_SHOWN, Window(left, top, *size)))
    finally:
        raster.close()
    return [one for one in luminances if float(np.isfinite(one).mean()) >= _LEAST_SHARE]
