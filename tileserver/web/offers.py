"""What WMTS documents say of a layer, whether it is rendered or comes from an archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tileserver.attribution import description, title
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.encode import Extension
from tileserver.tiling.grid import BBox, QuadGrid
from tileserver.web.grids import covering_views
from tileserver.web.tilejson import tile_path, with_names


@dataclass(frozen=True)
class OfferedGrid:
    """A tile matrix set on which a layer is served: its grid, the part that has tiles in its CRS, and the zooms."""

    grid: QuadGrid
    served: BBox
    zooms: range


@dataclass(frozen=True)
class Offer:
    """A layer as a document lists it.

    Attributes:
        identifier: unique in the document.
        title, abstract: for people; the abstract has credit, date and AI notice.
        bounds_lonlat: west, south, east, north in degrees.
        extension: format of the tiles.
        template: absolute URL with {TileMatrixSet}, {TileMatrix}, {TileCol} and {TileRow}.
        grids: by identifier of the tile matrix set; the first is the one that programs use by default.
    """

    identifier: str
    title: str
    abstract: str
    bounds_lonlat: BBox
    extension: Extension
    template: str
    grids: Mapping[str, OfferedGrid]


def offers_of(
    service: TileService, base_url: str, layers: Iterable[str], extension: Extension, prefix: str = ""
) -> list[Offer]:
    """Return the offers of a map's layers.

    Args:
        service: the map's tiles.
        base_url: URL of the map as its clients see it, without a trailing slash.
        layers: names of the layers.
        extension: format of the tiles.
        prefix: in front of the layers' names, where several maps are in one document.
    """
    found = []
    for layer in layers:
        views = covering_views(service, layer)
        grids = {
            name: OfferedGrid(view.pyramid.grid, view.pyramid.served, zooms_of(view))
            for name, view in views.items()
        }
        found.append(
            Offer(
                identifier=prefix + layer,
                title=f"{title(service)}: {layer}",
                abstract=description(service, layer),
                bounds_lonlat=next(iter(views.values())).bounds_lonlat,
                extension=extension,
                template=base_url + wmts_path(layer, extension),
                grids=grids,
            )
        )
    return found


def zooms_of(view: View) -> range:
    """Return the zooms that a view is served at."""
    return range(view.pyramid.first_zoom, view.pyramid.max_zoom + 1)


def wmts_path(layer: str, extension: Extension) -> str:
    """Return the path of a layer's tiles with WMTS's names in braces."""
    return with_names(tile_path(layer, "{TileMatrixSet}", extension), "TileMatrix", "TileCol", "TileRow")
