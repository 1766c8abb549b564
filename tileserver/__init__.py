"""A tile server that restores an old orthophoto with a neural network and serves it as a basemap.

`__all__` lists the public interface; docs/api.md describes it. Names are looked up when they are first used,
so that `import tileserver` loads neither torch nor OpenVINO nor GDAL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sr_model.lazy import lazy_names

if TYPE_CHECKING:
    from tileserver.archives.readers import open_archive
    from tileserver.errors import (
        ArchiveError,
        OutsideError,
        OverloadedError,
        ReadError,
        RequestError,
        SettingsError,
        SourceError,
        StartError,
        TileServerError,
        UnsupportedOptionError,
    )
    from tileserver.photo.source import Source, SourceInfo
    from tileserver.service import TileService
    from tileserver.settings import Settings
    from tileserver.tiling.grid import BBox, TileAddress
    from tileserver.tiling.raster import Raster
    from tileserver.tiling.tile import Tile, TileRequest
    from tileserver.web.app import create_app

__version__: str
__all__ = [
    "ArchiveError",
    "BBox",
    "OutsideError",
    "OverloadedError",
    "Raster",
    "ReadError",
    "RequestError",
    "Settings",
    "SettingsError",
    "Source",
    "SourceError",
    "SourceInfo",
    "StartError",
    "Tile",
    "TileAddress",
    "TileRequest",
    "TileServerError",
    "TileService",
    "UnsupportedOptionError",
    "__version__",
    "create_app",
    "open_archive",
]

# Where public names are defined; those that are not here are exceptions, and all in `errors`.
_MODULES: Final = {
    "BBox": "tiling.grid",
    "Raster": "tiling.raster",
    "Settings": "settings",
    "Source": "photo.source",
    "SourceInfo": "photo.source",
    "Tile": "tiling.tile",
    "TileAddress": "tiling.grid",
    "TileRequest": "tiling.tile",
    "TileService": "service",
    "create_app": "web.app",
    "open_archive": "archives.readers",
}

# Hidden from type checkers, which then find misspelt names.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, __all__, _MODULES)
