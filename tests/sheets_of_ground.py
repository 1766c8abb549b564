"""Sheets of one made ground, in which the colour of a pixel tells its place, and other odd files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import transform

from sr_model import PixelWindow
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms

# A corner in UTM 18N, and the size of its pixels in metres.
CORNER = (620_000.0, 4_695_000.0)
GSD_M = 0.6
UTM = "EPSG:32618"
# RD as old programs wrote it: an ellipsoid and no datum.
RD_WITHOUT_DATUM = (
    'PROJCS["unnamed",GEOGCS["Bessel 1841",DATUM["unknown",SPHEROID["Bessel 1841",6377397.155,299.1528128]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Oblique_Stereographic"],'
    'PARAMETER["latitude_of_origin",52.1561605555556],PARAMETER["central_meridian",5.38763888888889],'
    'PARAMETER["scale_factor",0.9999079],PARAMETER["false_easting",155000],PARAMETER["false_northing",463000],'
    'UNIT["metre",1]]'
)
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (30, 50, 210), (220, 210, 40)


def write_sheet(
    path: Path,
    column: float,
    row: float,
    colour: Sequence[int],
    *,
    side: int = 128,
    gsd_m: float = GSD_M,
    crs: str = UTM,
    corner: tuple[float, float] | None = None,
    hole: int = 0,
    overviews: Sequence[int] = (2, 4),
    **profile: Any,
) -> Path:
    """A sheet of one colour; its corner lies so many pixels of GSD_M east and south of CORNER.

    Args:
        path: of the GeoTIFF.
        column, row: place of its corner.
        colour: one value for each band.
        side: columns and rows.
        gsd_m: size of its pixels.
        crs: its CRS; `corner` is its corner there.
        hole: side of the square in its north-west corner that its mask hides.
        overviews: factors.
        profile: of rasterio.
    """
    left, top = corner or (CORNER[0] + column * GSD_M, CORNER[1] - row * GSD_M)
    chosen = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": len(colour),
        "dtype": "uint8",
        "crs": crs,
        "transform": Affine(gsd_m, 0, left, 0, -gsd_m, top),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
    }
    values = np.empty((len(colour), side, side), profile.get("dtype", "uint8"))
    values[:] = np.array(colour)[:, None, None]
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **{**chosen, **profile}) as file,
    ):
        file.write(values)
        if hole:
            mask = np.full((side, side), 255, np.uint8)
            mask[:hole, :hole] = 0
            file.write_mask(mask)
        if overviews:
            file.build_overviews(list(overviews), Resampling.average)
    return path


def place(column: float, row: float) -> tuple[float, float]:
    """Longitude and latitude of a place that lies so many pixels from CORNER."""
    xs, ys = transform(UTM, "EPSG:4326", [CORNER[0] + column * GSD_M], [CORNER[1] - row * GSD_M])[:2]
    return xs[0], ys[0]


class Shown:
    """What a photograph shows at places, read as tiles are.

    Args:
        source: the photograph.
        zooms_out: how much coarser than the zoom whose pixels are nearest to 0.6 m.
    """

    def __init__(self, source: Source, zooms_out: int = 0) -> None:
        self._view = View.of_tms(source, supported_tms().get(WEB_MERCATOR), OutputScale(GSD_M))
        self._zoom = self._view.pyramid.native_zoom - zooms_out

    def at(self, column: float, row: float) -> tuple[int, ...] | None:
        """The colour at a place, or None where there is no data."""
        xs, ys = transform("EPSG:4326", "EPSG:3857", *([value] for value in place(column, row)))[:2]
        grid = self._view.pyramid.grid
        cell = grid.cell(self._zoom)
        x, y = int((xs[0] - grid.left) // cell), int((grid.top - ys[0]) // cell)
        raster = self._view.read(self._zoom, PixelWindow(x - 8, y - 8, 16, 16))
        return tuple(int(value) for value in raster.rgb[8, 8]) if raster.mask[8, 8] else None


def near(found: tuple[int, ...] | None, colour: Sequence[int], tolerance: int = 3) -> bool:
    """Whether a colour is that of a sheet."""
    return found is not None and max(abs(a - b) for a, b in zip(found, colour, strict=True)) <= tolerance


def write_vrt(path: Path, names: list[str], *, scale: float = 1.0) -> Path:
    """A VRT as gdalbuildvrt writes it: no mask, and sheets beside it."""
    columns = {"a": 0, "b": 128, "c": 300, "gone": 128}
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="128" ySize="128"/>'
            f'<DstRect xOff="{columns[name] * scale}" yOff="0" xSize="{128 * scale}" ySize="{128 * scale}"/>'
            "</SimpleSource>"
            for name in names
        )
        + "</VRTRasterBand>"
        for band, colour in enumerate(("Red", "Green", "Blue"), 1)
    )
    cell = GSD_M / scale
    path.write_text(
        f'<VRTDataset rasterXSize="{int(428 * scale)}" rasterYSize="{int(128 * scale)}"><SRS>{UTM}</SRS>'
        f"<GeoTransform>{CORNER[0]}, {cell}, 0, {CORNER[1]}, 0, {-cell}</GeoTransform>{bands}</VRTDataset>"
    )
    return path
