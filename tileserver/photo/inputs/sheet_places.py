"""How exactly the places of a mosaic's sheets are known that have another CRS than the mosaic."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from tileserver.errors import SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.commands import MendedFile, mend_sheets, name_crs_of_each
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.sheets import Sheet, short_names
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import WGS84, horizontal_crs, pixel_size
from tileserver.photo.position import WORST_PX, Position, find_position
from tileserver.tiling.grid import BBox


@dataclass(frozen=True)
class SheetPositions:
    """What is known of the places of sheets in other CRSs.

    Attributes:
        key: the operations that place them.
        warnings: one for each CRS whose place is in doubt.
    """

    key: tuple[str, ...]
    warnings: tuple[Notice, ...]


def check_sheet_positions(sheets: Sequence[Sheet], crs: CRS, placing: Placing) -> SheetPositions:
    """Look at each CRS of sheets but the mosaic's own, which is looked at with the mosaic.

    Args:
        sheets: of the mosaic.
        crs: the mosaic's.
        placing: says whether a doubtful place is refused.

    Raises:
        SourceError: it is, and there is one.
    """
    keys: list[str] = []
    warnings: list[Notice] = []
    for group in _by_crs(sheets, crs):
        position, gsd_m = _position(group)
        found = list(_warnings(group, sheets, position, gsd_m))
        if placing.inaccurate == "refuse" and position.is_worse_than(WORST_PX * gsd_m):
            raise SourceError(f"the mosaic is refused, as --inaccurate refuse asks: {' '.join(found)}")
        keys.append(position.key)
        warnings += found
    return SheetPositions(tuple(keys), tuple(warnings))


def _by_crs(sheets: Sequence[Sheet], mosaic: CRS) -> list[list[Sheet]]:
    groups: list[list[Sheet]] = []
    for sheet in sheets:
        if sheet.crs == mosaic:
            continue
        group = next((one for one in groups if one[0].crs == sheet.crs), None)
        if group is None:
            groups.append([sheet])
        else:
            group.append(sheet)
    return groups


def _position(group: Sequence[Sheet]) -> tuple[Position, float]:
    crs = horizontal_crs(group[0].crs)
    corners = [
        sheet.transform * (x, y) for sheet in group for x in (0, sheet.width) for y in (0, sheet.height)
    ]
    xs, ys = zip(*corners, strict=True)
    bounds = BBox(min(xs), min(ys), max(xs), max(ys))
    try:
        with gdal_errors():
            lonlat = BBox(*transform_bounds(crs, WGS84, *bounds, densify_pts=21))
    except RasterioError:
        lonlat = BBox(math.inf, math.inf, math.inf, math.inf)
    if not all(math.isfinite(value) for value in lonlat):
        raise SourceError(f"{group[0].path} lies outside the area of use of its CRS")
    matrix = group[0].transform
    pixel = pixel_size(crs, bounds.centre, (matrix.a, matrix.d), (matrix.b, matrix.e))
    return find_position(crs, bounds, lonlat), pixel.gsd_m


def _warnings(
    group: Sequence[Sheet], sheets: Sequence[Sheet], position: Position, gsd_m: float
) -> Iterator[Notice]:
    paths = [sheet.path for sheet in group]
    have = "has" if len(paths) == 1 else "have"
    for notice in position.notices(gsd_m, shlex.join(paths)):
        # --crs is for all sheets, which have several.
        text = notice.replace("the photograph", "the sheet").replace("--crs ", "gdal_edit.py -a_srs ")
        command = notice.command
        if position.like and not position.better:
            command = _name_crs(paths, [sheet.path for sheet in sheets], CRS.from_string(position.like))
        yield Notice(
            notice.code,
            f"{len(paths)} of {len(sheets)} sheets {have} another CRS ({short_names(paths)}): {text}",
            command,
        )


def _name_crs(paths: Sequence[str], all_paths: Sequence[str], crs: CRS) -> str:
    """Return the command that makes sheets say that they have a CRS."""
    mendings = {}
    for path in paths:
        with open_dataset(path) as dataset:
            mendings[path] = MendedFile.of_sheet(path, dataset, crs).name_crs()
    return mend_sheets(mendings, all_paths, name_crs_of_each(crs))
