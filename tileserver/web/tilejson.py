"""TileJSON of a layer, and the configuration of the page."""

# Annotations are not postponed: older versions of FastAPI cannot evaluate those of classes of another module.

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query

from tileserver.attribution import ai_notice, attribution, credit, new_year, title, year
from tileserver.errors import BadParameterError
from tileserver.service import TileService
from tileserver.tiling.encode import Extension
from tileserver.tiling.grid import TILE_PX, Pyramid
from tileserver.tiling.layer import WEB_MERCATOR
from tileserver.web.formats import DEFAULT_FORMAT


def tile_path(layer: str, tms: str, extension: str = DEFAULT_FORMAT, scale: int = 1) -> str:
    """Return the URL template of a layer's tiles, relative to the server's root."""
    return f"/{layer}/tiles/{tms}/{{z}}/{{x}}/{{y}}{'@2x' if scale == 2 else ''}.{extension}"


def with_names(path: str, zoom: str, column: str, row: str) -> str:
    """Return a path of `tile_path` with other names for {z}, {x} and {y}, as other standards have them."""
    for ours, theirs in (("{z}", zoom), ("{x}", column), ("{y}", row)):
        path = path.replace(ours, f"{{{theirs}}}")
    return path


@dataclass(frozen=True)
class TileJsonOptions:
    """Query parameters of TileJSON.

    Attributes:
        tile_format: format of the tiles.
        scale: 2 for tiles of 512 px that are shown at 256, as sharp screens need them.
        tilesize: side in pixels at which a tile is shown; 512 px tiles are those of scale 2.
        minzoom, maxzoom: zooms to name instead of all that are served.
    """

    tile_format: Extension = DEFAULT_FORMAT
    scale: Annotated[int, Query(ge=1, le=2)] = 1
    tilesize: Annotated[int, Query(gt=0)] = TILE_PX
    minzoom: int | None = None
    maxzoom: int | None = None


def tilejson(
    service: TileService, base_url: str, layer: str, tms: str, options: TileJsonOptions
) -> dict[str, Any]:
    """Return the TileJSON 3.0.0 document of a layer.

    `tileSize` is not part of the specification. MapLibre reads it, and takes tiles for 512 px ones without it.

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash.
        layer: name of the layer.
        tms: identifier of the tile matrix set.
        options: what the request chooses.

    Raises:
        OutsideError: the layer or the set does not exist.
        BadParameterError: there are no tiles of that size, or a zoom is not served.
    """
    view = service.rasters.view(layer, tms)
    bounds, pyramid = view.bounds_lonlat, view.pyramid
    first, last = chosen_zooms(options, pyramid)
    if options.tilesize not in (TILE_PX, 2 * TILE_PX):
        raise BadParameterError(f"tilesize {options.tilesize} is not served: use {TILE_PX} or {2 * TILE_PX}")
    scale = 2 if options.tilesize > TILE_PX else options.scale
    return {
        "tilejson": "3.0.0",
        "name": f"{title(service)}: {layer}",
        "version": "1.0.0",
        "scheme": "xyz",
        "attribution": attribution(service, layer),
        "tiles": [base_url + tile_path(layer, tms, options.tile_format, scale)],
        "tileSize": options.tilesize,
        "bounds": list(bounds),
        "center": [*bounds.centre, min(max(pyramid.native_zoom, first), last)],
        "minzoom": first,
        "maxzoom": last,
    }


def chosen_zooms(options: TileJsonOptions, pyramid: Pyramid) -> tuple[int, int]:
    """Return the first and last zoom to name.

    Raises:
        BadParameterError: one of those that were chosen is not served.
    """
    first = pyramid.first_zoom if options.minzoom is None else options.minzoom
    last = pyramid.max_zoom if options.maxzoom is None else options.maxzoom
    if not pyramid.first_zoom <= first <= last <= pyramid.max_zoom:
        raise BadParameterError(
            f"minzoom and maxzoom must be from {pyramid.first_zoom} to {pyramid.max_zoom}, the zooms that are served"
        )
    return first, last


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
        "year": year(service),
        "new_year": new_year(service),
        "credit": credit(service),
        "ai_notice": ai_notice(service),
        "ai_model": {"name": service.restorer.spec.name, "digest": service.restorer.digest[:12]},
        "geocoder": service.settings.geocoder,
        "layers": layers,
        "root_path": root_path,
        "tiles": {layer: root_path + tile_path(layer, WEB_MERCATOR) for layer in layers},
        "bounds": list(bounds),
        "layer_bounds": {
            layer: list(service.rasters.view(layer, WEB_MERCATOR).bounds_lonlat) for layer in layers
        },
        "center": [*bounds.centre, min(max(pyramid.native_zoom - 1, pyramid.min_zoom), pyramid.max_zoom)],
        "minzoom": pyramid.first_zoom,
        "maxzoom": pyramid.max_zoom,
        "overview_zoom": pyramid.min_zoom,
        "native_zoom": pyramid.native_zoom,
        "max_image_px": service.settings.max_image_px,
        "has_files": True,
    }
