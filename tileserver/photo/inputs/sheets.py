"""The sheets of a mosaic: each is looked at once, so that absent and damaged ones are named before anything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from tileserver.errors import SourceError
from tileserver.photo.colour_bands import colour_bands
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.fingerprint import files_of
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.commands import MendedFile, Mending
from tileserver.photo.inputs.formats import reason
from tileserver.photo.inputs.georeference import Georeferenced, georeference
from tileserver.photo.inputs.naming import file_name, is_remote
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.probe import probe
from tileserver.photo.inputs.tags import credit_of
from tileserver.photo.inputs.wholeness import missing_part
from tileserver.photo.notice import Notice
from tileserver.photo.value_range import is_negative

# Sheets on a disk are looked at faster than one at a time, and those behind a URL much faster.
_THREADS: Final = 8
_MOST_NAMED: Final = 12
RGB: Final = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Sheet:
    """A file of a mosaic.

    Attributes:
        path: what the user or the index names; absolute if it is a local file.
        gdal_path: what GDAL opens, which differs where the sheet is warped by control points.
        crs, transform, width, height: its place, and its size in pixels.
        dtype: data type of its bands.
        bands: numbers of its bands without alpha, counted from 1, in the file's order.
        colours: interpretation of each of them.
        palette: whether its only band has a colour table, even if that was expanded as it was warped.
        is_negative: whether its lowest value is white (PHOTOMETRIC=MINISWHITE).
        bits: bits per value that are used (NBITS), if fewer than the data type has; else None.
        is_masked: whether some of its pixels may have no data.
        overviews: overview factors, ascending.
        files: paths of all its files.
        credit: text of its credit tag; may be empty.
        how: how its place was found, if not from its own tags.
        added, remade: how it gets overviews, and how those that lack its mask are replaced.
        hides_more: whether it has overviews that lack its mask.
    """

    path: str
    gdal_path: str
    crs: CRS
    transform: Affine
    width: int
    height: int
    dtype: str
    bands: tuple[int, ...]
    colours: tuple[ColorInterp, ...]
    palette: bool
    is_negative: bool
    bits: str | None
    is_masked: bool
    overviews: tuple[int, ...]
    files: tuple[str, ...]
    credit: str
    how: str
    added: Mending
    remade: Mending
    hides_more: bool = False

    @property
    def name(self) -> str:
        """File name."""
        return file_name(self.path)


class Fault(NamedTuple):
    """A sheet that cannot be used, and why."""

    path: str
    reason: str


def look_at(path: str, placing: Placing) -> Sheet | Fault:
    """Open a sheet, see whether it is whole, and describe it.

    Raises:
        SettingsError: `placing` is invalid.
    """
    if not is_remote(path):
        path = str(Path(path).absolute())
        if not Path(path).exists():
            return Fault(path, "there is no such file")
    try:
        with gdal_errors(), open_dataset(path) as dataset:
            if missing := missing_part(path):
                return Fault(path, f"it was cut short: {missing}")
            probe(dataset)
            placed = georeference(path, dataset, placing)
            if placed.path == path:
                return _describe(path, dataset, dataset, placed)
            with open_dataset(placed.path) as warped:
                return _describe(path, dataset, warped, placed)
    except SourceError as error:
        return Fault(path, str(error).removeprefix(f"{path} "))
    except (RasterioError, OSError) as error:
        return Fault(path, reason(path, error))


def look_at_all(paths: Sequence[str], placing: Placing) -> tuple[list[Sheet], list[Notice]]:
    """Look at every sheet of a mosaic.

    Returns:
        The sheets that can be used, and a warning that names the others.

    Raises:
        SourceError: sheets are absent or damaged and `placing` refuses that, or none is left.
    """
    with ThreadPoolExecutor(_THREADS, "orthosharp-look") as pool:
        found = list(pool.map(lambda path: look_at(path, placing), paths))
    faults = [one for one in found if isinstance(one, Fault)]
    sheets = [one for one in found if isinstance(one, Sheet)]
    notices = report_faults(faults, len(paths), placing)
    if not sheets:
        raise SourceError("none of the sheets can be read")
    return sheets, notices


def report_faults(faults: Sequence[Fault], count: int, placing: Placing) -> list[Notice]:
    """Return the warning that names unusable sheets; empty without any.

    Raises:
        SourceError: `placing` refuses them.
    """
    if not faults:
        return []
    lines = [f"{fault.path}: {fault.reason}" for fault in faults[:_MOST_NAMED]]
    if len(faults) > _MOST_NAMED:
        lines.append(f"and {len(faults) - _MOST_NAMED} more")
    listed = "\n  ".join(lines)
    counted = f"{len(faults)} of {count} sheets cannot be read"
    if placing.missing == "refuse":
        raise SourceError(f"{counted} (--missing skip leaves gaps in their place):\n  {listed}")
    return [Notice("missing-sheets", f"{counted}, and gaps are left in their place:\n  {listed}")]


def _describe(path: str, own: DatasetReader, dataset: DatasetReader, placed: Georeferenced) -> Sheet:
    """Describe a sheet by its own file and by what GDAL reads of it, which may be warped and does not tell all."""
    colours = dataset.colorinterp
    bands = colour_bands(dataset)
    if not bands:
        raise SourceError(f"{path} has only an alpha band: leave it out of the mosaic")
    palette = own.colorinterp[0] == ColorInterp.palette
    bits = own.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    mended = MendedFile.of_sheet(path, own, placed.crs)
    return Sheet(
        path=path,
        gdal_path=placed.path,
        crs=placed.crs,
        transform=dataset.transform,
        width=dataset.width,
        height=dataset.height,
        dtype=dataset.dtypes[0],
        bands=bands,
        colours=tuple(colours[band - 1] for band in bands),
        palette=palette,
        # A colour table says what is white, and its colours have 8 bits.
        is_negative=is_negative(own) and not palette,
        bits=None if palette else bits,
        is_masked=any(flag.name != "all_valid" for flag in dataset.mask_flag_enums[0]),
        overviews=tuple(dataset.overviews(1)),
        files=files_of(path, own),
        credit=credit_of(own),
        how=placed.how,
        added=mended.add_overviews(),
        remade=mended.remake_overviews(),
    )


def colour_order(sheet: Sheet) -> tuple[int, ...]:
    """Return the numbers of a sheet's bands in the order red, green, blue, others, where it says which is which."""
    if not set(RGB) <= set(sheet.colours):
        return sheet.bands
    first = [sheet.bands[sheet.colours.index(colour)] for colour in RGB]
    return (*first, *(band for band in sheet.bands if band not in first))


def is_north_up(transform: Affine) -> bool:
    """Return whether rows run from north to south and columns from west to east, without rotation."""
    turned = math.hypot(transform.b, transform.d) > 1e-9 * math.hypot(transform.a, transform.e)
    return not turned and transform.a > 0 > transform.e


def short_names(paths: Sequence[str]) -> str:
    """Return up to three file names, for a message."""
    names = [PurePath(file_name(path)).name for path in paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
