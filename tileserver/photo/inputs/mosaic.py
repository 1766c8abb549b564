"""Many sheets as one photograph: a VRT on the grid of the finest sheet, with a mask that leaves gaps transparent.

Sheets on that grid are copied pixel by pixel. All others (another CRS, another pixel size, a shifted or turned grid)
are warped to it once, with the kernel and the mask of everything else; GDAL does so when their pixels are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from tileserver.errors import SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.commands import mend_sheets
from tileserver.photo.inputs.expanded import as_vrt
from tileserver.photo.inputs.georeference import warp_options
from tileserver.photo.inputs.sheets import Sheet, colour_order, is_north_up, short_names
from tileserver.photo.inputs.virtual import virtual_file
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import pixel_size
from tileserver.photo.virtual import GDAL_TYPES, Layout, VirtualPhoto, alpha_band
from tileserver.tiling.grid import BBox

# Coordinates in world files are rounded: a sheet within this part of a pixel lies on the grid.
_ON_GRID_PX: Final = 0.05
# Overviews of the mosaic, down to this many pixels.
_SMALLEST_PX: Final = 256
# Sheets that fill less than this share of their common rectangle lie suspiciously far apart.
_LEAST_FILLED: Final = 0.002
# Of a mosaic; integers of 64 bits are not a photograph's.
_TYPES: Final = GDAL_TYPES.keys() - {"int64", "uint64"}
# Types whose alpha band GDAL takes for a mask.
_GDAL_ALPHA: Final = ("uint8", "uint16")


@dataclass(frozen=True)
class Grid:
    """The pixels of a mosaic.

    Attributes:
        crs: its CRS.
        transform: north-up transform.
        width, height: size in pixels.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int


@dataclass(frozen=True)
class _Placed:
    """A sheet on the grid: what GDAL opens, and where its first pixel comes to lie."""

    sheet: Sheet
    path: str
    column: int
    row: int
    width: int
    height: int
    virtual: VirtualPhoto | None = None


def build_mosaic(sheets: Sequence[Sheet], name: str) -> tuple[str, list[Notice], list[VirtualPhoto]]:
    """Return the path, for GDAL, of a virtual mosaic of sheets, what to warn of, and what must exist to read it.

    Args:
        sheets: at least one, without colour tables; later ones lie on top of earlier ones.
        name: file name of the mosaic, without suffix.

    Raises:
        SourceError: the sheets do not go together.
    """
    grid = choose_grid(sheets)
    placed = [_place(sheet, grid) for sheet in sheets]
    count = _band_count(sheets)
    text = _vrt(grid, placed, _band_rows(sheets, count), _overviews(sheets, grid))
    virtual = [one.virtual for one in placed if one.virtual is not None]
    return virtual_file(f"{name}.vrt", text), list(_notices(sheets, placed, grid)), virtual


def choose_grid(sheets: Sequence[Sheet]) -> Grid:
    """Return the grid of the finest sheet, in the CRS that most sheets have, over the ground of all of them."""
    crs = _most_common_crs(sheets)
    sizes = {sheet.path: _gsd_m(sheet) for sheet in sheets}
    own = [sheet for sheet in sheets if sheet.crs == crs]
    # Grids that are turned or run to the north cannot be continued: another sheet, or north-up pixels of that size.
    first = min(own, key=lambda sheet: (round(sizes[sheet.path], 6), not is_north_up(sheet.transform)))
    finer = min(sizes.values()) / sizes[first.path]
    matrix = first.transform
    x_size, y_size = math.hypot(matrix.a, matrix.d), math.hypot(matrix.b, matrix.e)
    if finer < 0.99:  # a sheet in another CRS is the finest
        x_size, y_size = x_size * finer, y_size * finer
    extents = [_extent(sheet, crs) for sheet in sheets]
    left, bottom = min(one.left for one in extents), min(one.bottom for one in extents)
    right, top = max(one.right for one in extents), max(one.top for one in extents)
    origin = _extent(first, crs)
    left = origin.left + math.floor((left - origin.left) / x_size + _ON_GRID_PX) * x_size
    top = origin.top - math.floor((origin.top - top) / y_size + _ON_GRID_PX) * y_size
    width = math.ceil((right - left) / x_size - _ON_GRID_PX)
    height = math.ceil((top - bottom) / y_size - _ON_GRID_PX)
    if max(width, height) >= 2**31:
        raise SourceError("the sheets lie too far apart for one photograph: serve them as several maps")
    return Grid(crs, Affine(x_size, 0.0, left, 0.0, -y_size, top), width, height)


def check_types(sheets: Sequence[Sheet]) -> None:
    """Refuse sheets whose values cannot be compared.

    Raises:
        SourceError: their types or bits differ, or they are not a photograph's.
    """
    kinds: dict[str, list[str]] = {}
    for sheet in sheets:
        # Colour tables give 8 bits.
        dtype = "uint8" if sheet.palette else sheet.dtype
        bits = f" with {sheet.bits} bits" if sheet.bits else ""
        kinds.setdefault(f"{dtype}{bits}", []).append(sheet.path)
    if len(kinds) > 1:
        listed = "; ".join(f"{kind}: {short_names(paths)}" for kind, paths in kinds.items())
        raise SourceError(
            f"the sheets have values of different types ({listed}): serve them as several maps, "
            "or convert some with gdal_translate -ot TYPE -scale"
        )
    if sheets[0].dtype not in _TYPES:
        raise SourceError(
            f"{sheets[0].path} has values of type {sheets[0].dtype}, which are not a photograph's"
        )


def _most_common_crs(sheets: Sequence[Sheet]) -> CRS:
    found: list[CRS] = []
    count: Counter[int] = Counter()
    for sheet in sheets:
        number = next((i for i, crs in enumerate(found) if crs == sheet.crs), len(found))
        if number == len(found):
            found.append(sheet.crs)
        count[number] += 1
    return found[count.most_common(1)[0][0]]


def _gsd_m(sheet: Sheet) -> float:
    matrix = sheet.transform
    centre = matrix * (sheet.width / 2, sheet.height / 2)
    return pixel_size(sheet.crs, centre, (matrix.a, matrix.d), (matrix.b, matrix.e)).gsd_m


def _extent(sheet: Sheet, crs: CRS) -> BBox:
    corners = [sheet.transform * (x, y) for x in (0, sheet.width) for y in (0, sheet.height)]
    xs, ys = zip(*corners, strict=True)
    own = BBox(min(xs), min(ys), max(xs), max(ys))
    if sheet.crs == crs:
        return own
    try:
        with gdal_errors():
            found = BBox(*transform_bounds(sheet.crs, crs, *own, densify_pts=21))
    except RasterioError:
        found = BBox(math.inf, math.inf, math.inf, math.inf)
    if not all(math.isfinite(value) for value in found):
        raise SourceError(
            f"{sheet.path} lies outside the area of use of its CRS, or far from the other sheets"
        )
    return found


def _place(sheet: Sheet, grid: Grid) -> _Placed:
    matrix, size = sheet.transform, (grid.transform.a, -grid.transform.e)
    x = (matrix.c - grid.transform.c) / size[0]
    y = (grid.transform.f - matrix.f) / size[1]
    drift = max(abs(matrix.a / size[0] - 1) * sheet.width, abs(matrix.e / size[1] + 1) * sheet.height)
    shift = max(abs(x - round(x)), abs(y - round(y)))
    if sheet.crs == grid.crs and is_north_up(matrix) and drift <= _ON_GRID_PX and shift <= _ON_GRID_PX:
        return _Placed(sheet, sheet.gdal_path, round(x), round(y), sheet.width, sheet.height)
    return _warped(sheet, grid)


def _warped(sheet: Sheet, grid: Grid) -> _Placed:
    """Warp a sheet to the grid: a window of whole pixels round its ground."""
    extent = _extent(sheet, grid.crs)
    x_size, y_size = grid.transform.a, -grid.transform.e
    column = math.floor((extent.left - grid.transform.c) / x_size)
    row = math.floor((grid.transform.f - extent.top) / y_size)
    width = math.ceil((extent.right - grid.transform.c) / x_size) - column
    height = math.ceil((grid.transform.f - extent.bottom) / y_size) - row
    with gdal_errors(), open_dataset(sheet.gdal_path) as dataset:
        options = {
            "src_crs": sheet.crs,
            "crs": grid.crs,
            "transform": grid.transform * Affine.translation(column, row),
            "width": width,
            "height": height,
        }
        with WarpedVRT(dataset, **options, **warp_options(dataset)) as vrt:
            path = virtual_file("sheet.vrt", as_vrt(vrt))
    virtual = _with_mask(path, sheet)
    one = replace(sheet, bands=tuple(range(1, len(sheet.bands) + 1))) if virtual else sheet
    return _Placed(one, virtual.path if virtual else path, column, row, width, height, virtual)


def _with_mask(path: str, sheet: Sheet) -> VirtualPhoto | None:
    """A virtual file that hides by its alpha band, of a type for which GDAL itself does not; else None."""
    if sheet.dtype in _GDAL_ALPHA:
        return None
    with open_dataset(path) as dataset:
        layout = Layout(sheet.bands, sheet.dtype, 0, None, alpha_band(dataset), mask=False, levels=())
        return VirtualPhoto(path, dataset, replace(layout, kept=sheet.bands))


def _band_count(sheets: Sequence[Sheet]) -> int:
    counts = {len(sheet.bands) for sheet in sheets}
    colour = {count for count in counts if count >= 3}
    if not colour:
        return 1
    return min(colour) if counts == colour else 3


def _band_rows(sheets: Sequence[Sheet], count: int) -> list[list[int]]:
    """Bands of each sheet that make the bands of the mosaic; a grey sheet gives its only band to all three."""
    # A common order is left as it is, so that --bands counts as in the files.
    orders = {sheet.colours for sheet in sheets}
    rows = []
    for sheet in sheets:
        bands = sheet.bands if len(orders) == 1 else colour_order(sheet)
        rows.append(list(bands[:count]) if len(bands) >= count else [bands[0]] * count)
    return rows


def _overviews(sheets: Sequence[Sheet], grid: Grid) -> list[int]:
    """Factors of virtual overviews, which read those of the sheets; none if some sheet has none."""
    if not all(sheet.overviews or max(sheet.width, sheet.height) <= 2 * _SMALLEST_PX for sheet in sheets):
        return []
    factors, factor = [], 2
    while max(grid.width, grid.height) / factor >= _SMALLEST_PX / 2:
        factors.append(factor)
        factor *= 2
    return factors


def _vrt(grid: Grid, placed: list[_Placed], rows: list[list[int]], overviews: list[int]) -> str:
    first = placed[0].sheet
    # The photograph is a negative if all sheets are; some are made positive.
    negative = all(one.sheet.is_negative for one in placed)
    bands = [
        _band(
            number + 1,
            first,
            _colour(placed, rows, number),
            "".join(
                _source(one, row[number], invert=one.sheet.is_negative and not negative)
                for one, row in zip(placed, rows, strict=True)
            ),
        )
        for number in range(len(rows[0]))
    ]
    masks = "".join(_mask_source(one) for one in placed)
    transform = ", ".join(map(repr, grid.transform.to_gdal()))
    listed = " ".join(map(str, overviews))
    virtual = f'<OverviewList resampling="average">{listed}</OverviewList>' if overviews else ""
    sign = '<Metadata domain="IMAGE_STRUCTURE"><MDI key="MINISWHITE">YES</MDI></Metadata>' if negative else ""
    return (
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
        f'<SRS dataAxisToSRSAxisMapping="1,2">{escape(grid.crs.to_wkt())}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{sign}{''.join(bands)}"
        f'<MaskBand><VRTRasterBand dataType="Byte">{masks}</VRTRasterBand></MaskBand>{virtual}</VRTDataset>'
    )


def _colour(placed: list[_Placed], rows: list[list[int]], number: int) -> str:
    if len(rows[0]) < 3:
        return "Gray"
    sheet = next((one.sheet for one in placed if len(one.sheet.bands) >= 3), None)
    if sheet is None or len({one.sheet.colours for one in placed}) > 1:
        return ("Red", "Green", "Blue")[number] if number < 3 else "Undefined"
    colour = sheet.colours[number]
    return {ColorInterp.red: "Red", ColorInterp.green: "Green", ColorInterp.blue: "Blue"}.get(
        colour, "Undefined"
    )


def _band(number: int, first: Sheet, colour: str, sources: str) -> str:
    bits = (
        f'<Metadata domain="IMAGE_STRUCTURE"><MDI key="NBITS">{first.bits}</MDI></Metadata>'
        if first.bits
        else ""
    )
    return (
        f'<VRTRasterBand dataType="{GDAL_TYPES[first.dtype]}" band="{number}">{bits}'
        f"<ColorInterp>{colour}</ColorInterp>{sources}</VRTRasterBand>"
    )


def _source(one: _Placed, band: int, *, invert: bool) -> str:
    extra = ""
    if invert:
        extra = f"<ScaleOffset>{_largest(one.sheet)}</ScaleOffset><ScaleRatio>-1</ScaleRatio>"
    return f"<ComplexSource>{_file(one, str(band))}{extra}<UseMaskBand>true</UseMaskBand></ComplexSource>"


def _largest(sheet: Sheet) -> int:
    """The value that is black in a negative."""
    if not sheet.dtype.startswith("uint"):
        raise SourceError(
            f"{sheet.path} is a negative with values of type {sheet.dtype}, and other sheets are not: serve them as "
            "several maps"
        )
    bits = int(sheet.bits) if sheet.bits else int(sheet.dtype.removeprefix("uint"))
    return int(2**bits - 1)


def _mask_source(one: _Placed) -> str:
    # Where a sheet has no data, it must not hide the sheet below it.
    return f"<ComplexSource>{_file(one, 'mask,1')}<NODATA>0</NODATA></ComplexSource>"


def _file(one: _Placed, band: str) -> str:
    size = f'xSize="{one.width}" ySize="{one.height}"'
    properties = (
        f'RasterXSize="{one.width}" RasterYSize="{one.height}" '
        f"DataType={quoteattr('Byte' if band.startswith('mask') else GDAL_TYPES[one.sheet.dtype])}"
    )
    return (
        f'<SourceFilename relativeToVRT="0">{escape(one.path)}</SourceFilename><SourceBand>{band}</SourceBand>'
        f'<SourceProperties {properties}/><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{one.column}" yOff="{one.row}" {size}/>'
    )


def _notices(sheets: Sequence[Sheet], placed: list[_Placed], grid: Grid) -> list[Notice]:
    notices = []
    without = {
        sheet.path: sheet.added
        for sheet in sheets
        if not (sheet.overviews or sheet.hides_more) and max(sheet.width, sheet.height) > 2 * _SMALLEST_PX
    }
    if without:
        notices.append(
            Notice(
                "no-overviews",
                f"{len(without)} of {len(sheets)} sheets have no overviews ({short_names(list(without))}), so low "
                "zooms will be slow. orthosharp info prints the command that adds them to each",
                mend_sheets(without, [sheet.path for sheet in sheets]),
            )
        )
    covered = sum(one.width * one.height for one in placed)
    if covered < _LEAST_FILLED * grid.width * grid.height:
        notices.append(
            Notice(
                "sheets-far-apart",
                f"the sheets cover {100 * covered / (grid.width * grid.height):.2g} % of their common rectangle: "
                "is the CRS or the place of one of them wrong?",
            )
        )
    return notices
