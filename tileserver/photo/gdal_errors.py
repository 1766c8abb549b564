"""A public exception class for all errors of GDAL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import rasterio
from rasterio.errors import RasterioError

_NO_FILE: Final = "/vsimem/orthosharp-no-such-file"


class GdalError(RasterioError):  # type: ignore[misc]  # rasterio says nothing about its types
    """An error of GDAL that rasterio raises as an exception without a public name."""


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Convert exceptions of rasterio that have no public name, and forget the errors that they were made of.

    Most exceptions of rasterio are a RasterioError, an OSError or a ValueError (see `rasterio.errors`). Errors that
    GDAL reports while it warps a block or transforms coordinates are raised as exceptions of a private module instead,
    or as a SystemError if GDAL gives no reason.

    Raises:
        GdalError: instead of such an exception.
    """
    try:
        yield
    except (RasterioError, OSError, ValueError):
        _forget_errors()
        raise
    except Exception as error:
        _forget_errors()
        if type(error).__module__.partition(".")[0] != "rasterio" and not isinstance(error, SystemError):
            raise
        raise GdalError(str(error)) from error


def _forget_errors() -> None:
    """Make GDAL forget the last error of this thread.

    After a block could not be read, rasterio leaves GDAL's error standing, and raises it from a later call that
    succeeded. It clears it where it fails to open a file.
    """
    with suppress(RasterioError):
        rasterio.open(_NO_FILE).close()
