"""Files that open the map in other programs: QGIS, GDAL, JOSM, iD, and catalogues that read STAC."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tileserver.attribution import ai_notice, attribution, credit, description, taken, title
from tileserver.photo.pixel_size import WGS84
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.grid import TILE_PX, BBox
from tileserver.tiling.layer import AI_LAYERS, WEB_MERCATOR, Layer
from tileserver.web.grids import served_tiles
from tileserver.web.tilejson import tile_path

Document = dict[str, Any]
_MERCATOR: Final = "EPSG:3857"
_JOSM: Final = "http://josm.openstreetmap.de/maps-1.0"
_WEB_MAP_LINKS: Final = "https://stac-extensions.github.io/web-map-links/v1.2.0/schema.json"
# A version of QGIS that reads what is written here, and that newer ones convert.
_QGIS_VERSION: Final = "3.22.0"


def qgis_layers(service: TileService, base_url: str, layer: Layer) -> ET.Element:
    """Return a QGIS layer definition (.qlr) with one layer.

    Args:
        service: the map's tiles.
        base_url: URL of the server as its clients see it, without a trailing slash; of all functions here.
        layer: name of the layer.
    """
    root = ET.Element("qlr")
    tree = ET.SubElement(root, "layer-tree-group", name="", checked="Qt::Checked", expanded="1")
    tree.append(_tree_layer(service, base_url, layer, is_shown=True))
    ET.SubElement(root, "maplayers").append(_map_layer(service, base_url, layer))
    return root


def qgis_project(service: TileService, base_url: str) -> ET.Element:
    """Return a QGIS project (.qgs) with all layers; the restored one is on top, and the only one that is shown."""
    root = ET.Element("qgis", projectname=title(service), version=_QGIS_VERSION)
    ET.SubElement(root, "title").text = title(service)
    _crs(ET.SubElement(root, "projectCrs"))
    tree = ET.SubElement(root, "layer-tree-group")
    layers = ET.SubElement(root, "projectlayers")
    for layer in service.rasters.layers:
        tree.append(_tree_layer(service, base_url, layer, is_shown=layer == "restored"))
        layers.append(_map_layer(service, base_url, layer))
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas")
    ET.SubElement(canvas, "units").text = "meters"
    _extent(canvas, _mercator_bounds(_view(service, "restored")))
    _crs(ET.SubElement(canvas, "destinationsrs"))
    return root


def gdal_wms(service: TileService, base_url: str, layer: Layer) -> ET.Element:
    """Return a service description of GDAL's driver WMS, for the tiles that cover the photograph."""
    view = _view(service, layer)
    pyramid = view.pyramid
    first, last = max(pyramid.min_zoom, pyramid.first_zoom), pyramid.max_zoom
    # Whole tiles of the first zoom, so that those of all zooms lie on whole tiles.
    tiles = served_tiles(view.pyramid.grid, view.pyramid.served, first).scaled_up(1 << (last - first))
    left, bottom, right, top = pyramid.grid.bounds(last, tiles.scaled_up(TILE_PX))
    path = tile_path(layer, WEB_MERCATOR, "png").replace("{", "${")
    root = ET.Element("GDAL_WMS")
    _texts(ET.SubElement(root, "Service", name="TMS"), ServerUrl=base_url + path)
    _texts(
        ET.SubElement(root, "DataWindow"),
        UpperLeftX=left,
        UpperLeftY=top,
        LowerRightX=right,
        LowerRightY=bottom,
        TileLevel=last,
        TileX=tiles.x,
        TileY=tiles.y,
        SizeX=tiles.width * TILE_PX,
        SizeY=tiles.height * TILE_PX,
        YOrigin="top",
    )
    _texts(
        root,
        OverviewCount=last - first,
        Projection=_MERCATOR,
        BlockSizeX=TILE_PX,
        BlockSizeY=TILE_PX,
        BandsCount=4,
        ZeroBlockHttpCodes="204,404",
        UserAgent="GDAL",
    )
    return root


def josm_imagery(service: TileService, base_url: str, layer: Layer) -> ET.Element:
    """Return an imagery entry as JOSM reads it (its Maps schema 1.0)."""
    view = _view(service, layer)
    west, south, east, north = view.bounds_lonlat
    root = ET.Element("imagery", xmlns=_JOSM)
    entry = ET.SubElement(root, "entry")
    _texts(entry, name=f"{title(service)}: {layer}", id=_identifier(service, layer), type="tms")
    _texts(entry, url=base_url + tile_path(layer, WEB_MERCATOR, "png").replace("{z}", "{zoom}"))
    _texts(entry, category="historicphoto", description=description(service, layer) or layer)
    if date := taken(service, layer):
        _texts(entry, date=date[:10])
    sides = {"min-lon": west, "min-lat": south, "max-lon": east, "max-lat": north}
    ET.SubElement(entry, "bounds", {name: repr(degrees) for name, degrees in sides.items()})
    notes = " | ".join(filter(None, [credit(service), ai_notice(service) if layer in AI_LAYERS else ""]))
    if notes:
        ET.SubElement(entry, "attribution-text", mandatory="true").text = notes
    zooms = {"min-zoom": view.pyramid.first_zoom, "max-zoom": view.pyramid.max_zoom}
    for name, zoom in zooms.items():
        ET.SubElement(entry, name).text = str(zoom)
    return root


def imagery_feature(service: TileService, base_url: str, layer: Layer) -> Document:
    """Return an imagery entry as iD and the Editor Layer Index have it: a GeoJSON feature."""
    view = _view(service, layer)
    first, _, last = taken(service, layer).partition("/")
    properties = {
        "id": _identifier(service, layer),
        "name": f"{title(service)}: {layer}",
        "type": "tms",
        "category": "historicphoto",
        "url": base_url + tile_path(layer, WEB_MERCATOR, "png").replace("{z}", "{zoom}"),
        "min_zoom": view.pyramid.first_zoom,
        "max_zoom": view.pyramid.max_zoom,
        "description": description(service, layer),
        "attribution": {"text": attribution(service, layer), "required": True},
        **({"start_date": first[:10], "end_date": (last or first)[:10]} if first else {}),
    }
    return {"type": "Feature", "properties": properties, "geometry": _polygon(view.bounds_lonlat)}


def stac_item(service: TileService, base_url: str) -> Document:
    """Return a STAC item of the map (STAC 1.0.0), with its services as web map links."""
    view = _view(service, "restored")
    info = view.source.info
    layers = service.rasters.layers
    links = [
        {"rel": "self", "href": f"{base_url}/item.json", "type": "application/geo+json"},
        {"rel": "wmts", "href": f"{base_url}/wmts", "type": "application/xml", "wmts:layer": list(layers)},
        {"rel": "wms", "href": f"{base_url}/wms", "type": "text/xml", "wms:layers": list(layers)},
    ]
    assets: dict[str, Document] = {}
    for layer in layers:
        template = base_url + tile_path(layer, WEB_MERCATOR, "png")
        links.append({"rel": "xyz", "href": template, "type": "image/png", "title": layer})
        assets[layer] = {
            "href": f"{base_url}/{layer}/{WEB_MERCATOR}/tilejson.json",
            "type": "application/json",
            "title": f"TileJSON of the layer {layer}",
            "description": description(service, layer) or layer,
            "roles": ["data", "tilejson"],
        }
    assets["thumbnail"] = {
        "href": f"{base_url}/restored/preview.jpg?max_size=400",
        "type": "image/jpeg",
        "roles": ["thumbnail"],
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_WEB_MAP_LINKS],
        "id": _identifier(service, "restored"),
        "bbox": list(view.bounds_lonlat),
        "geometry": _polygon(view.bounds_lonlat),
        "properties": {
            "title": title(service),
            "description": description(service, "restored"),
            "gsd": round(info.pixel.gsd_m, 4),
            **_dates(taken(service, "restored")),
            **({"providers": [{"name": credit(service), "roles": ["producer"]}]} if credit(service) else {}),
        },
        "links": links,
        "assets": assets,
    }


def _dates(text: str) -> Document:
    """Return when a photograph was taken, in the fields of STAC; an interval where that is not known exactly.

    Args:
        text: one date, or two with a slash between them, or a year; may be empty.
    """
    first, _, last = text.partition("/")
    try:
        taken, until = (datetime.fromisoformat(end) for end in (first, last or first))
    except ValueError:
        year = text[:4] if text[:4].isdigit() else ""
        start, end = (year, year) if year else ("1850", str(datetime.now(UTC).year))
        return {
            "datetime": None,
            "start_datetime": f"{start}-01-01T00:00:00Z",
            "end_datetime": f"{end}-12-31T23:59:59Z",
        }
    if last:
        return {"datetime": None, "start_datetime": _rfc3339(taken), "end_datetime": _rfc3339(until)}
    return {"datetime": _rfc3339(taken)}


def _rfc3339(moment: datetime) -> str:
    return moment.replace(tzinfo=moment.tzinfo or UTC).isoformat().replace("+00:00", "Z")


def _view(service: TileService, layer: str) -> View:
    return service.rasters.view(layer, WEB_MERCATOR)


def _identifier(service: TileService, layer: str) -> str:
    """Return an identifier of letters, digits and hyphens, which other maps do not have."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title(service))
    return f"orthosharp-{name}-{layer}-{service.content[:8]}"


def _polygon(bounds: BBox) -> Document:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _mercator_bounds(view: View) -> BBox:
    return BBox(*transform_bounds(WGS84, CRS.from_string(_MERCATOR), *view.bounds_lonlat, densify_pts=21))


def _source(service: TileService, base_url: str, layer: Layer) -> str:
    """Return the source of a layer as QGIS's provider of web maps reads it."""
    pyramid = _view(service, layer).pyramid
    url = quote(base_url + tile_path(layer, WEB_MERCATOR, "png"), safe=":/")
    return f"type=xyz&url={url}&zmin={pyramid.first_zoom}&zmax={pyramid.max_zoom}"


def _tree_layer(service: TileService, base_url: str, layer: Layer, *, is_shown: bool) -> ET.Element:
    return ET.Element(
        "layer-tree-layer",
        id=_identifier(service, layer),
        name=f"{title(service)}: {layer}",
        providerKey="wms",
        checked="Qt::Checked" if is_shown else "Qt::Unchecked",
        expanded="1",
        source=_source(service, base_url, layer),
    )


def _map_layer(service: TileService, base_url: str, layer: Layer) -> ET.Element:
    element = ET.Element("maplayer", type="raster", refreshOnNotifyEnabled="0")
    _extent(element, _mercator_bounds(_view(service, layer)))
    _texts(
        element,
        id=_identifier(service, layer),
        datasource=_source(service, base_url, layer),
        layername=f"{title(service)}: {layer}",
        abstract=description(service, layer),
        attribution=description(service, layer),
        provider="wms",
    )
    _crs(ET.SubElement(element, "srs"))
    metadata = ET.SubElement(element, "resourceMetadata")
    _texts(metadata, title=f"{title(service)}: {layer}", abstract=description(service, layer))
    _texts(metadata, rights=description(service, layer))
    return element


def _crs(parent: ET.Element) -> None:
    _texts(ET.SubElement(parent, "spatialrefsys"), authid=_MERCATOR, srid="3857")


def _extent(parent: ET.Element, bounds: BBox) -> None:
    extent = ET.SubElement(parent, "extent")
    _texts(extent, xmin=bounds.left, ymin=bounds.bottom, xmax=bounds.right, ymax=bounds.top)


def _texts(parent: ET.Element, **texts: object) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = repr(text) if isinstance(text, float) else str(text)
