"""`/{layer}/view.zip` and `/{layer}/view.tif`: what a user looks at, in native size, with its place and its credit."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tileserver.attribution import ai_notice, credit, title
from tileserver.errors import BadParameterError, OutsideError
from tileserver.photo.pixel_size import WGS84
from tileserver.photo.view import View
from tileserver.service import TileService
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import AI_LAYERS, WEB_MERCATOR, Layer
from tileserver.tiling.raster import Raster
from tileserver.tiling.xmp import tiff_tags, with_xmp
from tileserver.web.layer_reader import project
from tileserver.web.tile_endpoint import TileEndpoint

Kind = Literal["zip", "tif"]
_MEDIA_TYPES: Final = {"zip": "application/zip", "tif": "image/tiff"}


def add_view_routes(router: APIRouter, endpoint: TileEndpoint, layer: Layer) -> None:
    """Add the route of a layer's saved views to the layer's routes."""

    @router.get(
        "/view.{kind}",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in _MEDIA_TYPES.values()}}},
    )
    async def saved(
        kind: Kind,
        bbox: Annotated[str, Query(description="west,south,east,north in degrees", max_length=200)],
    ) -> Response:
        """The view at the native zoom: a GeoTIFF, or a PNG with world file and credit in a ZIP."""
        service = endpoint.service
        body = await run_in_threadpool(_save, endpoint, layer, kind, bbox)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", title(service)).strip("-.")[:60] or "view"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}-{layer}.{kind}"',
            "Cache-Control": f"public, max-age={service.settings.max_age_s}",
        }
        return Response(body, 200, headers, _MEDIA_TYPES[kind])


def _save(endpoint: TileEndpoint, layer: Layer, kind: Kind, bbox: str) -> bytes:
    """Return the file.

    Raises:
        BadParameterError: `bbox` is malformed, or larger than `max_image_px` at the native zoom.
        OutsideError: there is no photograph there.
        TileServerError, sr_model.InferenceError: as `TileService.picture`.
    """
    service = endpoint.service
    view = service.rasters.view(layer, WEB_MERCATOR)
    zoom, grid = view.pyramid.native_zoom, view.pyramid.grid
    ground = _parse(bbox, view).intersection(view.pyramid.served)
    if ground is None:
        raise OutsideError("the view is outside the photograph: see the bounds in the TileJSON")
    window, limit = grid.covering(zoom, ground), service.settings.max_image_px
    if max(window.width, window.height) > limit:
        raise BadParameterError(
            f"the view has {window.width} x {window.height} px in native size, and {limit} is the most on each side: "
            "zoom in, or use `orthosharp restore` for the whole photograph"
        )
    with endpoint.running:
        raster = service.picture(layer, WEB_MERCATOR, zoom, window)
    place = grid.bounds(zoom, window)
    make = _geotiff if kind == "tif" else _archive
    return make(raster, place, view, notes_of(service, layer), service.mark(layer))


def _parse(bbox: str, view: View) -> BBox:
    try:
        west, south, east, north = (float(number) for number in bbox.split(","))
    except ValueError as error:
        raise BadParameterError("bbox is malformed: give west,south,east,north in degrees") from error
    return project(WGS84, view.crs, (west, south, east, north))


def notes_of(service: TileService, layer: str) -> dict[str, str]:
    """Return what every file says of itself, by the keywords of PNG (ISO/IEC 15948, section 11.3.4)."""
    notes = {"Title": f"{title(service)}: {layer}", "Copyright": credit(service), "Software": "orthosharp"}
    if layer in AI_LAYERS:
        notes["Description"] = (
            f"{ai_notice(service)}. A guess by a neural network: not for measuring, not as evidence."
        )
    return {name: text for name, text in notes.items() if text}


def _geotiff(raster: Raster, place: BBox, view: View, notes: dict[str, str], packet: bytes) -> bytes:
    height, width = raster.mask.shape
    tags = {
        "TIFFTAG_DOCUMENTNAME": notes.get("Title", ""),
        "TIFFTAG_COPYRIGHT": notes.get("Copyright", ""),
        "TIFFTAG_IMAGEDESCRIPTION": notes.get("Description", ""),
        "TIFFTAG_SOFTWARE": notes["Software"],
    }
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 4,
        "width": width,
        "height": height,
        "crs": view.crs,
        "transform": from_bounds(*place, width, height),
        "photometric": "RGB",
        "alpha": "unassociated",
        "compress": "deflate",
    }
    with MemoryFile() as file:
        with file.open(**profile) as dataset:
            dataset.write(raster.rgb.transpose(2, 0, 1), (1, 2, 3))
            dataset.write(raster.mask, 4)
            dataset.update_tags(**{name: text for name, text in tags.items() if text})
            if packet:
                dataset.update_tags(ns="xml:XMP", **tiff_tags(packet))
        return bytes(file.read())


def _archive(raster: Raster, place: BBox, view: View, notes: dict[str, str], packet: bytes) -> bytes:
    """Return a ZIP with a PNG, its world file and its CRS, and the notes as text."""
    height, width = raster.mask.shape
    image = Image.fromarray(raster.rgb)
    image.putalpha(Image.fromarray(raster.mask))
    info = PngInfo()
    for name, text in notes.items():
        info.add_itxt(name, text)
    png = io.BytesIO()
    image.save(png, "png", pnginfo=info)
    x_cell, y_cell = place.width / width, place.height / height
    # The centre of the first pixel, as ESRI defines world files.
    world = (x_cell, 0.0, 0.0, -y_cell, place.left + x_cell / 2, place.top - y_cell / 2)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("view.png", with_xmp(png.getvalue(), "png", packet))
        archive.writestr("view.pgw", "".join(f"{number!r}\n" for number in world))
        archive.writestr("view.prj", view.crs.to_wkt(version="WKT1_ESRI"))
        archive.writestr("CREDIT.txt", "".join(f"{name}: {text}\n" for name, text in notes.items()))
    return sink.getvalue()
