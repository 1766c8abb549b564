"""A layer of a service as one raster: a VRT in memory over GDAL's WMS driver, a level for each overview."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from rasterio.crs import CRS
from rasterio.io import MemoryFile

from sr_model import PixelWindow
from tileserver.photo.inputs.services.gateway import GDAL_TIMEOUT_S, Gateway
from tileserver.photo.inputs.services.levels import Level, ServiceLayer, pyramid

_COLOURS: Final = ("Red", "Green", "Blue", "Alpha")
# The domain of metadata that says where the overviews come from; see `tileserver.photo.overview_masks`.
DOMAIN: Final = "orthosharp"


class ServiceRaster:
    """A raster of red, green, blue and alpha; it exists until it is closed.

    Args:
        layer: the layer.
        base: number of the level that is its full resolution.
        gateway: serves all levels of the layer; not closed with the raster.

    Attributes:
        path: name that GDAL opens it by.
        overviews: factors of its overviews.
    """

    def __init__(self, layer: ServiceLayer, base: int, gateway: Gateway) -> None:
        levels = pyramid(layer.levels, base, layer.bounds)
        self.overviews = tuple(factor for _, factor in levels[1:])
        finest, last = levels[0][0], levels[-1][1]
        whole = finest.window(layer.bounds, last)
        left, top = finest.left + whole.x * finest.cell, finest.top - whole.y * finest.cell
        self._files: list[MemoryFile] = []
        self._finalizer = weakref.finalize(self, _delete, self._files)
        self._finalizer.atexit = False
        coarser: list[str] = []
        for level, factor in reversed(levels):
            # The same ground, in this level's pixels.
            x, y = round((left - level.left) / level.cell), round((level.top - top) / level.cell)
            window = PixelWindow(x, y, whole.width // factor, whole.height // factor)
            source = self._keep(
                _wms(level, _tiles_over(level, window), _url(gateway, layer.levels, level)), ".xml"
            )
            finer = list(reversed(coarser)) if level is finest else []
            text = _vrt(layer.crs, level, window, source, finer)
            coarser.append(self._keep(text, ".vrt"))
        self.path = coarser[-1]

    def close(self) -> None:
        """Delete its files in memory."""
        self._finalizer()

    def _keep(self, text: str, suffix: str) -> str:
        self._files.append(MemoryFile(text.encode(), ext=suffix))
        return str(self._files[-1].name)


def _delete(files: Sequence[MemoryFile]) -> None:
    for file in files:
        file.close()


def _url(gateway: Gateway, levels: Sequence[Level], level: Level) -> str:
    return f"{gateway.url}/{levels.index(level)}/${{x}}/${{y}}"


def _tiles_over(level: Level, window: PixelWindow) -> PixelWindow:
    """The tiles that a window of pixels touches."""
    width, height = level.tile_px
    return PixelWindow.between(
        window.x // width,
        window.y // height,
        -(-(window.x + window.width) // width),
        -(-(window.y + window.height) // height),
    )


def _wms(level: Level, tiles: PixelWindow, url: str) -> str:
    """GDAL's description of a service of tiles (its documentation, "WMS -- Web Map Services")."""
    width, height = level.tile_px
    columns, rows = tiles.width * width, tiles.height * height
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service><DataWindow>'
        f"<UpperLeftX>0</UpperLeftX><UpperLeftY>{rows}</UpperLeftY>"
        f"<LowerRightX>{columns}</LowerRightX><LowerRightY>0</LowerRightY><TileLevel>0</TileLevel>"
        f"<TileX>{tiles.x}</TileX><TileY>{tiles.y}</TileY><SizeX>{columns}</SizeX><SizeY>{rows}</SizeY>"
        f"<YOrigin>top</YOrigin></DataWindow><BlockSizeX>{width}</BlockSizeX><BlockSizeY>{height}</BlockSizeY>"
        f"<BandsCount>4</BandsCount><OverviewCount>0</OverviewCount><Timeout>{GDAL_TIMEOUT_S:.0f}</Timeout>"
        "<MaxConnections>4</MaxConnections><ZeroBlockHttpCodes>404</ZeroBlockHttpCodes></GDAL_WMS>"
    )


def _vrt(crs: CRS, level: Level, window: PixelWindow, source: str, overviews: Sequence[str]) -> str:
    tiles, (width, height) = _tiles_over(level, window), level.tile_px
    left, top = level.left + window.x * level.cell, level.top - window.y * level.cell
    size = f'xSize="{window.width}" ySize="{window.height}"'
    properties = (
        f'RasterXSize="{tiles.width * width}" RasterYSize="{tiles.height * height}" DataType="Byte" '
        f'BlockXSize="{width}" BlockYSize="{height}"'
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{escape(source)}</SourceFilename><SourceBand>{band}</SourceBand>'
        f"<SourceProperties {properties}/>"
        f'<SrcRect xOff="{window.x - tiles.x * width}" yOff="{window.y - tiles.y * height}" {size}/>'
        f'<DstRect xOff="0" yOff="0" {size}/></SimpleSource>'
        + "".join(
            f'<Overview><SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></Overview>"
            for name in overviews
        )
        + "</VRTRasterBand>"
        for band, colour in enumerate(_COLOURS, 1)
    )
    return (
        f'<VRTDataset rasterXSize="{window.width}" rasterYSize="{window.height}"><SRS>{escape(crs.to_wkt())}</SRS>'
        f"<GeoTransform>{left!r}, {level.cell!r}, 0, {top!r}, 0, {-level.cell!r}</GeoTransform>"
        f'<Metadata domain="{DOMAIN}"><MDI key="SERVICE">YES</MDI></Metadata>{bands}</VRTDataset>'
    )
