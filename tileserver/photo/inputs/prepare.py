"""From what the user names to one raster that GDAL opens: the single entrance for serve, seed, restore and info."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from tileserver.errors import SourceError
from tileserver.photo.damage import describe_damage
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.fingerprint import files_of
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.formats import reason
from tileserver.photo.inputs.georeference import georeference
from tileserver.photo.inputs.locate import sheets_of
from tileserver.photo.inputs.mosaic import build_mosaic, check_types
from tileserver.photo.inputs.naming import file_name, is_remote, title_of
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.probe import probe
from tileserver.photo.inputs.services.address import ServiceAddress, service_address
from tileserver.photo.inputs.sheet_places import check_sheet_positions
from tileserver.photo.inputs.sheet_reading import prepare_sheets
from tileserver.photo.inputs.sheets import look_at_all
from tileserver.photo.inputs.stac import stac_asset
from tileserver.photo.inputs.tags import credit_of
from tileserver.photo.inputs.vrt import CheckedVrt, check_vrt
from tileserver.photo.inputs.wholeness import missing_part
from tileserver.photo.notice import Notice
from tileserver.photo.reading import AS_THE_VALUES_SAY, Nodata, ReadingOptions
from tileserver.photo.virtual import Closable

# Sheets in a command that a user may copy.
_MOST_NAMED: Final = 50


@dataclass(frozen=True)
class Prepared:
    """A photograph that GDAL can open as one raster.

    Attributes:
        path: what GDAL opens.
        name: title of the photograph.
        given: what the user calls it, as a shell takes it.
        crs: its CRS.
        files: paths of all files that it consists of.
        how: everything about it that neither the files' states nor GDAL's header tell; part of its fingerprint.
        sampled: path of a file whose bytes are sampled for the fingerprint.
        sheets: number of files of a mosaic; 1 for a single photograph.
        credit: copyright holders, from tags or from a STAC item; may be empty.
        date: when it was taken, from a STAC item; may be empty.
        warnings: what to tell the user.
        notes: what was found and decided.
        has_colour_table: whether its colours were those of a colour table, which was expanded.
        nodata: what is left of the option of this name after the sheets were prepared; None for all of it.
        virtual: virtual sheets, or a service, which must exist as long as the photograph is read.
    """

    path: str
    name: str
    given: str
    crs: CRS
    files: tuple[str, ...]
    how: str
    sampled: str
    sheets: int = 1
    credit: str = ""
    date: str = ""
    warnings: tuple[Notice, ...] = ()
    notes: tuple[str, ...] = ()
    has_colour_table: bool = False
    nodata: Nodata | None = None
    virtual: tuple[Closable, ...] = ()


def prepare(
    source: str | Sequence[str], placing: Placing, options: ReadingOptions = AS_THE_VALUES_SAY
) -> Prepared:
    """Find out what the user names, look at every file of it, and make one raster of it.

    Args:
        source: a path, URL, folder, pattern, index of sheets, STAC item or service, or several of them.
        placing: where the files lie, and what to do about absent ones.
        options: what the user says of the values, for the sheets of a mosaic.

    Raises:
        SourceError: it cannot be read, does not tell where it lies, or sheets are absent.
        SettingsError: `placing` is invalid.
    """
    names = [source] if isinstance(source, str) else list(source)
    if len(names) == 1:
        name = names[0]
        if (service := service_address(name)) is not None:
            return _service(name, service, placing)
        if (asset := stac_asset(name)) is not None:
            if stac_asset(asset.href) is not None:
                raise SourceError(
                    f"{name}: its asset is a STAC item itself: name one whose asset is a photograph"
                )
            found = prepare(asset.href, placing, options)
            credit = ", ".join(filter(None, (asset.credit or found.credit, asset.date)))
            files = (*asset.files, *found.files)
            return replace(
                found,
                name=asset.title,
                files=files,
                credit=credit,
                date=asset.date,
            )
        sheets = sheets_of(name)
        if sheets is None:
            return _single(name, placing)
        return _mosaic(sheets, _name_of(name), placing, options)
    if any(service_address(name) for name in names):
        raise SourceError("a service is a photograph of its own: name it alone, without other files")
    return _mosaic([sheet for name in names for sheet in sheets_of(name) or [name]], "", placing, options)


def _service(name: str, address: ServiceAddress, placing: Placing) -> Prepared:
    # Its HTTP library takes a tenth of a second to import.
    from tileserver.photo.inputs.services.opening import open_service

    opened = open_service(address, placing)
    return Prepared(
        path=opened.path,
        name=opened.title,
        given=shlex.quote(name),
        crs=opened.crs,
        # It has no files whose times tell that it changed.
        files=(),
        how=opened.how,
        sampled="",
        credit=opened.credit,
        warnings=opened.warnings,
        notes=opened.notes,
        virtual=(opened,),
    )


def _mosaic(paths: list[str], name: str, placing: Placing, options: ReadingOptions) -> Prepared:
    if len(paths) == 1:
        return _single(paths[0], placing)
    sheets, warnings = look_at_all(paths, placing)
    title = name or _common_name(paths)
    check_types(sheets)
    readable = prepare_sheets(sheets, options)
    path, more, virtual = build_mosaic(readable.sheets, title)
    credits_ = dict.fromkeys(sheet.credit for sheet in sheets if sheet.credit)
    with open_dataset(path) as mosaic:
        crs = mosaic.crs
    positions = check_sheet_positions(sheets, crs, placing)
    places = [(one.name, tuple(one.transform), one.width, one.height, one.how) for one in sheets]
    how = [places, readable.key, positions.key]
    return Prepared(
        path=path,
        name=title,
        given=shlex.join(paths[:_MOST_NAMED]) + (" ..." if len(paths) > _MOST_NAMED else ""),
        crs=crs,
        files=tuple(dict.fromkeys(file for sheet in sheets for file in sheet.files)),
        how=repr(how),
        sampled="",
        sheets=len(sheets),
        credit="; ".join(credits_),
        warnings=(*warnings, *positions.warnings, *more, *readable.warnings),
        notes=readable.notes,
        has_colour_table=all(sheet.palette for sheet in sheets),
        # What lies within a tolerance of a value was looked for at the edge of every sheet.
        nodata="none" if isinstance(options.nodata, tuple) and len(options.nodata) == 2 else None,
        virtual=(*readable.virtual, *virtual),
    )


def _single(path: str, placing: Placing) -> Prepared:
    checked = CheckedVrt(path, None, ())
    if path.lower().endswith(".vrt") and not is_remote(path) and Path(path).exists():
        checked = check_vrt(path, placing)
    try:
        with gdal_errors(), open_dataset(checked.path) as dataset:
            placed = georeference(path if checked.files is None else checked.path, dataset, placing)
            files, credit = checked.files or files_of(path, dataset), credit_of(dataset)
            cut = () if dataset.driver == "VRT" else tuple(_cut_short(path, dataset))
    except (RasterioError, OSError) as error:
        missing = missing_part(path)
        why = f"it was cut short: {missing}" if missing else reason(path, error)
        raise SourceError(f"{path} cannot be read: {why}") from error
    how = placed.how + (" mended" if checked.files else "")
    return Prepared(
        placed.path,
        title_of(path),
        shlex.quote(path),
        placed.crs,
        files,
        how,
        path,
        credit=credit,
        has_colour_table=placed.is_expanded,
        warnings=(*checked.warnings, *cut),
    )


def _cut_short(path: str, dataset: DatasetReader) -> Iterator[Notice]:
    """Yield the warning that a file is not whole, which can be served as far as it goes."""
    missing = missing_part(path)
    if not missing:
        try:
            with gdal_errors():
                probe(dataset)
        except (RasterioError, OSError) as error:
            missing = f"its last pixels cannot be read ({describe_damage(error)})"
    if missing:
        yield Notice(
            "cut-short",
            f"{file_name(path)} is damaged or was cut short: {missing}. Tiles that need them fail: copy it again from "
            "where it came from",
        )


def _name_of(source: str) -> str:
    """Name of a folder or an index; of a pattern, none."""
    path = Path(source).absolute()
    if path.is_dir():
        return path.name
    return path.stem if path.exists() else ""


def _common_name(paths: Sequence[str]) -> str:
    """Name of the folder that several files are in."""
    local = [str(Path(path).absolute()) for path in paths if not is_remote(path)]
    if len(local) < len(paths):
        return f"{title_of(paths[0])} and {len(paths) - 1} more"
    folder = Path(os.path.commonpath([str(Path(path).parent) for path in local]))
    return folder.name or title_of(paths[0])
