"""A public exception class for all errors of GDAL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rasterio.errors import RasterioError


class GdalError(RasterioError):  # type: ignore[misc]  # rasterio says nothing about its types
    """An error of GDAL that rasterio raises as an exception without a public name."""


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Convert exceptions of rasterio that have no public name.

    Most exceptions of rasterio are a RasterioError, an OSError or a ValueError (see `rasterio.errors`). Errors that
    GDAL reports while it warps a block or transforms coordinates are raised as exceptions of a private module instead,
    or as a SystemError if GDAL gives no reason.

    Raises:
        GdalError: instead of such an exception.
    """
    try:
        yield
    except (RasterioError, OSError, ValueError):
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "rasterio" and not isinstance(error, SystemError):
            raise
        raise GdalError(str(error)) from error
