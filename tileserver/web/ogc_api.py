"""Documents of the OGC APIs: Common (19-072, 20-024), Tiles (20-057) and Maps (20-058).

Each layer of the map is a collection. Written here, since titiler lists tile matrix sets that do not cover the
photograph, names no collections, and marks no templates in its lists.
"""

from __future__ import annotations

from typing import Any, Final

from rasterio.crs import CRS

from tileserver.attribution import attribution, description, taken, title
from tileserver.errors import OutsideError
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms
from tileserver.web.grids import covering_views, served_tiles
from tileserver.web.tilejson import TileJsonOptions, chosen_zooms, tile_path, with_names

Document = dict[str, Any]
CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_REL: Final = "http://www.opengis.net/def/rel/ogc/1.0/"
_SPEC: Final = "http://www.opengis.net/spec/"
_JSON: Final = "application/json"
# GDAL 3.6 prefers tiles to maps, mixes up their rows where a set has limits, and compares types as text. With this
# type, it reads maps, as newer versions then do.
_JSON_UNSEEN_BY_GDAL: Final = "application/json;charset=utf-8"
# PNG first: GDAL takes the last link of a type that it reads, and other clients the first.
_FORMATS: Final[tuple[Extension, ...]] = ("png", "jpg", "webp")
# Of a pixel of 0.28 mm, per metre (OGC 17-083r4, 6.2).
_SCALE_PER_GSD_M: Final = 1 / 0.28e-3
CONFORMANCE: Final = tuple(
    _SPEC + name
    for name in (
        *(f"ogcapi-common-1/1.0/conf/{part}" for part in ("core", "landing-page", "json", "html")),
        "ogcapi-common-2/1.0/conf/collections",
        *(
            f"ogcapi-tiles-1/1.0/conf/{part}"
            for part in ("core", "tileset", "tilesets-list", "geodata-tilesets", "png", "jpeg")
        ),
        *(
            f"ogcapi-maps-1/1.0/conf/{part}"
            for part in ("core", "collection-map", "background", "crs", "png", "jpeg")
        ),
        *(f"tms/2.0/conf/{part}" for part in ("tilematrixset", "json-tilematrixset", "json-tilesetmetadata")),
    )
)


def landing(service: TileService, base_url: str) -> Document:
    """Return the landing page.

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash; of all functions here.
    """
    openapi = "application/vnd.oai.openapi+json;version=3.1"
    return {
        "title": title(service),
        "description": description(service, "restored"),
        "attribution": attribution(service, "restored"),
        "links": [
            _link(f"{base_url}/?f=json", "self", _JSON, "This document"),
            _link(f"{base_url}/?f=html", "alternate", "text/html", "The map"),
            _link(f"{base_url}/openapi.json", "service-desc", openapi, "All addresses, for programs"),
            _link(f"{base_url}/docs", "service-doc", "text/html", "All addresses, for people"),
            _link(f"{base_url}/conformance", "conformance", _JSON, "Standards"),
            _link(f"{base_url}/conformance", f"{_REL}conformance", _JSON, "Standards"),
            _link(f"{base_url}/collections", "data", _JSON, "Layers"),
            _link(f"{base_url}/collections", f"{_REL}data", _JSON, "Layers"),
            _link(f"{base_url}/tileMatrixSets", f"{_REL}tiling-schemes", _JSON, "Tile matrix sets"),
        ],
    }


def conformance() -> Document:
    """Return the conformance declaration."""
    return {"conformsTo": list(CONFORMANCE)}


def collections(service: TileService, base_url: str) -> Document:
    """Return the list of collections: the layers."""
    return {
        "links": [_link(f"{base_url}/collections", "self", _JSON, "Layers")],
        "collections": [collection(service, base_url, layer) for layer in service.rasters.layers],
    }


def collection(service: TileService, base_url: str, layer: str) -> Document:
    """Return a collection.

    Raises:
        OutsideError: the layer does not exist.
    """
    view = service.rasters.view(layer, WEB_MERCATOR)
    source = view.source.info
    own = own_crs(source.crs)
    # Of the zoom that is restored at: GDAL makes its raster from it.
    scale = view.pixel(view.pyramid.native_zoom).gsd_m * _SCALE_PER_GSD_M
    address = f"{base_url}/collections/{layer}"
    extent: Document = {"spatial": {"bbox": [list(view.bounds_lonlat)], "crs": CRS84}}
    if date := taken(service, layer):
        first, _, last = date.partition("/")
        ends = [first[:10], (last or first)[:10]]
        if first.isdigit():  # a year
            ends = [f"{first}-01-01", f"{first}-12-31"]
        extent["temporal"] = {"interval": [[f"{end}T00:00:00Z" for end in ends]]}
    return {
        "id": layer,
        "title": f"{title(service)}: {layer}",
        "description": description(service, layer),
        "attribution": attribution(service, layer),
        "dataType": "map",
        "extent": extent,
        "crs": list(dict.fromkeys(filter(None, [CRS84, crs_uri(CRS.from_epsg(3857)), crs_uri(own)]))),
        "storageCrs": crs_uri(own) or CRS84,
        "minScaleDenominator": scale,
        "scaleDenominator": scale,
        "links": [
            _link(address, "self", _JSON, f"Layer {layer}"),
            _link(f"{base_url}/{layer}/tiles", f"{_REL}tilesets-map", _JSON_UNSEEN_BY_GDAL, "Tilesets"),
            *(
                _link(f"{address}/map?f={extension}", f"{_REL}map", MEDIA_TYPES[extension], "A picture")
                for extension in _FORMATS
            ),
            _link(f"{base_url}/{layer}/{WEB_MERCATOR}/tilejson.json", "describedby", _JSON, "TileJSON"),
        ],
    }


def tilesets(service: TileService, base_url: str, layer: str) -> Document:
    """Return the list of a layer's tilesets: of the tile matrix sets that cover the photograph."""
    views = covering_views(service, layer)
    return {
        "links": [_link(f"{base_url}/{layer}/tiles", "self", _JSON, "Tilesets")],
        "tilesets": [_tileset(service, base_url, layer, name, view) for name, view in views.items()],
    }


def tileset(
    service: TileService, base_url: str, layer: str, tms: str, options: TileJsonOptions | None = None
) -> Document:
    """Return the description of a tileset, with the tiles that are served.

    Args:
        service: the map's tiles.
        base_url: URL of the server.
        layer: name of the layer.
        tms: identifier of the tile matrix set.
        options: zooms to name instead of all that are served.

    Raises:
        OutsideError: the layer or the set does not exist.
        BadParameterError: a zoom is not served.
    """
    view = service.rasters.view(layer, tms)
    first, last = chosen_zooms(options or TileJsonOptions(), view.pyramid)
    limits = []
    # Tiles go on beyond the last zoom that the set defines, which clients of this standard cannot know of.
    for zoom in range(first, min(last, int(supported_tms().get(tms).maxzoom)) + 1):
        tiles = served_tiles(view.pyramid.grid, view.pyramid.served, zoom)
        limits.append(
            {
                "tileMatrix": str(zoom),
                "minTileRow": tiles.y,
                "maxTileRow": tiles.bottom - 1,
                "minTileCol": tiles.x,
                "maxTileCol": tiles.right - 1,
            }
        )
    return {**_tileset(service, base_url, layer, tms, view), "tileMatrixSetLimits": limits}


def tile_matrix_sets(base_url: str) -> Document:
    """Return the list of tile matrix sets."""
    return {
        "tileMatrixSets": [
            {
                "id": name,
                "title": supported_tms().get(name).title or name,
                "uri": tms_uri(base_url, name),
                "links": [
                    _link(f"{base_url}/tileMatrixSets/{name}", f"{_REL}tiling-scheme", _JSON, "Definition")
                ],
            }
            for name in supported_tms().list()
        ]
    }


def tile_matrix_set(name: str) -> Document:
    """Return the definition of a tile matrix set.

    GDAL of the years up to 2023 reads the version before (OGC 17-083r2), whose names stand beside those of version 2.

    Raises:
        OutsideError: it is not a known one.
    """
    if name not in supported_tms().list():
        raise OutsideError(f"unknown tile matrix set {name!r}: /tileMatrixSets lists those that are served")
    document: Document = supported_tms().get(name).model_dump(exclude_none=True, mode="json")
    matrices = [
        {**matrix, "identifier": matrix["id"], "topLeftCorner": matrix["pointOfOrigin"]}
        for matrix in document["tileMatrices"]
    ]
    before = {
        "type": "TileMatrixSetType",
        "identifier": name,
        "supportedCRS": document["crs"],
        "tileMatrix": matrices,
    }
    return {**document, **before}


def tms_uri(base_url: str, name: str) -> str:
    """Return what identifies a tile matrix set: its address in OGC's register, or here."""
    uri = str(supported_tms().get(name).uri)
    # morecantile gives some sets the address of another one.
    return uri if uri.endswith(f"/{name}") else f"{base_url}/tileMatrixSets/{name}"


def own_crs(crs: CRS) -> CRS | None:
    """Return a photograph's CRS if it has a code, by which programs can name it."""
    code = crs.to_epsg()
    return CRS.from_epsg(code) if code else None


def crs_uri(crs: CRS | None) -> str:
    """Return the URI of a CRS of EPSG; empty for one without a code, or None."""
    code = crs.to_epsg() if crs else None
    return f"http://www.opengis.net/def/crs/EPSG/0/{code}" if code else ""


def _tileset(service: TileService, base_url: str, layer: str, tms: str, view: View) -> Document:
    definition = supported_tms().get(tms)
    west, south, east, north = view.bounds_lonlat
    code = definition.crs.to_epsg()
    items = []
    for extension in _FORMATS:
        path = with_names(tile_path(layer, tms, extension), "tileMatrix", "tileCol", "tileRow")
        link = _link(base_url + path, "item", MEDIA_TYPES[extension], f"Tiles of {layer}")
        items.append({**link, "templated": True})
    return {
        "title": f"{title(service)}: {layer} ({tms})",
        "attribution": attribution(service, layer),
        "dataType": "map",
        "crs": f"http://www.opengis.net/def/crs/EPSG/0/{code}" if code else CRS84,
        "tileMatrixSetURI": tms_uri(base_url, tms),
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north], "crs": CRS84},
        "links": [
            _link(f"{base_url}/{layer}/tiles/{tms}", "self", _JSON, "Tileset"),
            *items,
            _link(
                f"{base_url}/tileMatrixSets/{tms}", f"{_REL}tiling-scheme", _JSON, "Definition of the grid"
            ),
            _link(f"{base_url}/{layer}/{tms}/tilejson.json", "describedby", _JSON, "TileJSON"),
            _link(f"{base_url}/collections/{layer}", f"{_REL}geodata", _JSON, f"Layer {layer}"),
        ],
    }


def _link(address: str, relation: str, media_type: str, text: str) -> Document:
    return {"href": address, "rel": relation, "type": media_type, "title": text}
