"""Each sheet of a mosaic is prepared as a photograph of its own: its border, its nodata, its colour table."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from tileserver.errors import SourceError
from tileserver.photo.colour_bands import colour_bands
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.commands import mend_sheets
from tileserver.photo.inputs.formats import reason
from tileserver.photo.inputs.sheets import RGB, Sheet, short_names
from tileserver.photo.notice import Notice
from tileserver.photo.preparation import prepare_sheet
from tileserver.photo.reading import ReadingOptions, SheetPreparation
from tileserver.photo.virtual import VirtualPhoto

# Small copies of so many sheets are held at a time.
_THREADS: Final = 4


@dataclass(frozen=True)
class ReadableSheets:
    """Sheets that GDAL reads as they are to be shown.

    Attributes:
        sheets: in the same order; none has a colour table any more.
        virtual: what must exist as long as the mosaic is read.
        key: what of this changes pixels, beside the files.
        notes: what was found and decided.
        warnings: defects, each with its remedy.
    """

    sheets: tuple[Sheet, ...]
    virtual: tuple[VirtualPhoto, ...]
    key: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[Notice, ...]


def prepare_sheets(sheets: Sequence[Sheet], options: ReadingOptions) -> ReadableSheets:
    """Decide for every sheet how it is read.

    Raises:
        SourceError: the colours of a sheet cannot be converted, or a block of it cannot be read.
    """
    with ThreadPoolExecutor(_THREADS, "orthosharp-sheets") as pool:
        prepared = list(pool.map(lambda sheet: _prepare(sheet, options), sheets))
    return ReadableSheets(
        sheets=tuple(_readable(sheet, one) for sheet, one in zip(sheets, prepared, strict=True)),
        virtual=tuple(one.virtual for one in prepared if one.virtual is not None),
        key=tuple(one.key for one in prepared),
        notes=tuple(_notes(sheets, prepared)),
        warnings=tuple(_warnings(sheets, prepared)),
    )


def _prepare(sheet: Sheet, options: ReadingOptions) -> SheetPreparation:
    try:
        with gdal_errors(), open_dataset(sheet.gdal_path) as dataset:
            bands = options.bands
            # A grey sheet among colour sheets gives its band to all of them.
            if bands and (sheet.palette or not set(bands) <= set(colour_bands(dataset))):
                bands = None
            own = ReadingOptions(bands=bands, nodata=options.nodata)
            return prepare_sheet(sheet.gdal_path, dataset, own, given=sheet.path)
    except (RasterioError, OSError) as error:
        raise SourceError(f"{sheet.path} cannot be read: {reason(sheet.path, error)}") from error


def _readable(sheet: Sheet, prepared: SheetPreparation) -> Sheet:
    if prepared.virtual is None:
        return sheet
    made = replace(
        sheet,
        gdal_path=prepared.path,
        bands=tuple(range(1, len(sheet.bands) + 1)),
        overviews=prepared.overviews,
        hides_more=len(prepared.overviews) < len(sheet.overviews),
    )
    if not prepared.palette:
        return made
    colours = RGB if prepared.palette == 3 else (ColorInterp.gray,)
    numbers = tuple(range(1, prepared.palette + 1))
    return replace(made, dtype="uint8", bands=numbers, colours=colours, bits=None, palette=False)


def _notes(sheets: Sequence[Sheet], prepared: Sequence[SheetPreparation]) -> list[str]:
    found = [sheet.path for sheet, one in zip(sheets, prepared, strict=True) if one.notes]
    if not found:
        return []
    if len(sheets) == 1:
        return list(prepared[0].notes)
    return [
        f"borders of {len(found)} of {len(sheets)} sheets are masked ({short_names(found)}): orthosharp info SHEET "
        "says more of each, --nodata none shows them"
    ]


def _warnings(sheets: Sequence[Sheet], prepared: Sequence[SheetPreparation]) -> list[Notice]:
    """One warning of each kind, which names the sheets."""
    found: dict[str, list[tuple[str, Notice]]] = {}
    for sheet, one in zip(sheets, prepared, strict=True):
        for warning in one.warnings:
            found.setdefault(warning.code, []).append((sheet.path, warning))
    # A value that is nodata at the edge of some sheets need not be at that of all.
    if len(found.get("nodata-not-found", [])) < len(sheets):
        found.pop("nodata-not-found", None)
    by_path = {sheet.path: sheet for sheet in sheets}
    notices = []
    for code, ones in found.items():
        paths = [path for path, _ in ones]
        text = f"{len(ones)} of {len(sheets)} sheets ({short_names(paths)}): of each, {ones[0][1]}"
        command = ""
        if code == "overviews-without-mask":
            command = mend_sheets({path: by_path[path].remade for path in paths}, list(by_path))
        notices.append(Notice(code, text, command))
    return notices
