"""One kind of error for all that GDAL refuses to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rasterio.errors import RasterioError


class GdalError(RasterioError):  # type: ignore[misc]  # rasterio says nothing about its types
    """An error of GDAL's that rasterio passed on under no public name."""


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Raise every error of rasterio's as one that has a public name.

    Most of them are a RasterioError, an OSError or a ValueError (see `rasterio.errors`). What GDAL reports while it
    warps a block or transforms coordinates comes as an exception of a private module instead, and as a SystemError
    where it gives no reason.

    Raises:
        GdalError: in the place of such an exception.
    """
    try:
        yield
    except (RasterioError, OSError, ValueError):
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "rasterio" and not isinstance(error, SystemError):
            raise
        raise GdalError(str(error)) from error
