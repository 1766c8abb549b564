"""What the names of photographs tell before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tileserver.errors import SourceError

# Suffixes of sheets that are picked up from a folder.
RASTERS: Final = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png", ".img", ".ecw", ".sid")
NO_SUCH_FILE: Final = "there is no such file: check its name"
_REMOTE: Final = re.compile(r"[a-z][a-z0-9+.-]+://|/vsi", re.IGNORECASE)
# Of patterns, items of STAC and templates of addresses.
_NOT_OF_FILES: Final = frozenset("*?[#{")


def is_remote(path: str) -> bool:
    """Return whether a path is a URL, or a virtual path of GDAL."""
    return _REMOTE.match(path) is not None


def is_absent(path: str) -> bool:
    """Return whether a path is that of a local file, and there is none."""
    # Other names that GDAL opens have a colon, such as NETCDF:FILE:VARIABLE.
    return not is_remote(path) and ":" not in path and not Path(path).exists()


def check_exists(source: str | Sequence[str]) -> None:
    """Refuse a photograph whose name is that of a raster file which is not there: reading it takes a second to import.

    Args:
        source: what the user names; anything but a single raster file is passed over.

    Raises:
        SourceError: there is no such file.
    """
    if not isinstance(source, str) or not source.lower().endswith(RASTERS) or _NOT_OF_FILES & set(source):
        return
    if is_absent(source):
        raise SourceError(f"{source} cannot be read: {NO_SUCH_FILE}")
