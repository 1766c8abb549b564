"""TileJSON of a layer, and the configuration of the page."""

from __future__ import annotations

from typing import Any, Final

from tileserver.attribution import ai_notice, attribution, credit, title
from tileserver.service import TileService
from tileserver.tiling.encode import Extension
from tileserver.tiling.grid import Pyramid
from tileserver.tiling.layer import WEB_MERCATOR

DEFAULT_FORMAT: Final[Extension] = "webp"


def tile_path(layer: str, tms: str, extension: str = DEFAULT_FORMAT) -> str:
    """Return the URL template of a layer's tiles, relative to the server's root."""
    return f"/{layer}/tiles/{tms}/{{z}}/{{x}}/{{y}}.{extension}"


def tilejson(
    service: TileService, base_url: str, layer: str, tms: str, extension: Extension
) -> dict[str, Any]:
    """Return the TileJSON 3.0.0 document of a layer.

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash.
        layer: name of the layer.
        tms: identifier of the tile matrix set.
        extension: format of the tiles.

    Raises:
        OutsideError: the layer or the set does not exist.
    """
    view = service.rasters.view(layer, tms)
    bounds, pyramid = view.bounds_lonlat, view.pyramid
    return {
        "tilejson": "3.0.0",
        "name": f"{title(service)}: {layer}",
        "version": "1.0.0",
        "scheme": "xyz",
        "attribution": attribution(service, layer),
        "tiles": [base_url + tile_path(layer, tms, extension)],
        "bounds": list(bounds),
        "center": [*bounds.centre, _within(pyramid.native_zoom, pyramid)],
        "minzoom": pyramid.min_zoom,
        "maxzoom": pyramid.max_zoom,
    }


def page_config(service: TileService, root_path: str) -> dict[str, Any]:
    """Return the page's configuration.

    Args:
        service: the map's tiles.
        root_path: the path of the map as far as the server knows it: a proxy's prefix, and the name among several.
            The page replaces it by its own address, so that it works even below a prefix that the server is not
            told of.
    """
    layers = [layer for layer in ("old", "restored", "difference", "new") if layer in service.rasters.layers]
    view = service.rasters.view("restored", WEB_MERCATOR)
    bounds, pyramid = view.bounds_lonlat, view.pyramid
    return {
        "name": title(service),
        "credit": credit(service),
        "ai_notice": ai_notice(service),
        "layers": layers,
        "root_path": root_path,
        "tiles": {layer: root_path + tile_path(layer, WEB_MERCATOR) for layer in layers},
        "bounds": list(bounds),
        "center": [*bounds.centre, _within(pyramid.native_zoom - 1, pyramid)],
        "minzoom": pyramid.min_zoom,
        "maxzoom": pyramid.max_zoom,
        "native_zoom": pyramid.native_zoom,
    }


def _within(zoom: int, pyramid: Pyramid) -> int:
    return min(max(zoom, pyramid.min_zoom), pyramid.max_zoom)
