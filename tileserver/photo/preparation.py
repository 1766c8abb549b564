"""How a photograph is read: its bands, its range of values and what of it is hidden; decided once, at its opening."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from rasterio import features
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from sr_model.measure.border_search import Place, search_borders
from sr_model.measure.borders import Border, border_of_value
from sr_model.measure.small_copy import Mask, Values
from sr_model.measure.value_range import find_range
from tileserver.errors import SettingsError, SourceError
from tileserver.photo.colour_bands import colour_bands
from tileserver.photo.corners import may_have_border
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.declared import choose_bands, is_lossy, palette_bands
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.hidden_raster import write_hidden
from tileserver.photo.notice import Notice
from tileserver.photo.outlines import project, read_polygons
from tileserver.photo.overview_masks import usable_overviews
from tileserver.photo.reading import Preparation, Range, ReadingOptions, SheetPreparation
from tileserver.photo.small_copy import read_scattered, read_small_copy, read_values
from tileserver.photo.value_range import bits_of, declared_range, is_negative
from tileserver.photo.virtual import Layout, VirtualPhoto, alpha_band

# Increase it when borders or ranges are found in another way.
PREPARATION_VERSION: Final = 2


@dataclass
class _Findings:
    """What is told to the user."""

    notes: list[str] = field(default_factory=list)
    warnings: list[Notice] = field(default_factory=list)

    def warn(self, code: str, text: str) -> None:
        self.warnings.append(Notice(code, text))


def prepare_reading(
    path: str, dataset: DatasetReader, crs: CRS, options: ReadingOptions, *, given: str
) -> Preparation:
    """Decide how a photograph is read.

    Args:
        path: name that GDAL opens it by.
        dataset: the file, open.
        crs: its horizontal CRS.
        options: what the user says of it.
        given: what the user calls it, for messages; of a path, tags that GDAL does not report are read there.

    Raises:
        SourceError: it lacks the bands, or its colours cannot be converted.
        SettingsError: footprint or exclusion cannot be read, or hide all of it.
    """
    found = _Findings()
    layout = _layout(path, given, dataset, options, found)
    outlines = _outlines(dataset, crs, options, found)
    context = _Context(dataset, layout, outlines, options, found)
    virtual, hidden = _virtual(path, context, needed=_needs_virtual(dataset, layout))
    with open_dataset(virtual.path if virtual else path) as base:
        bands = layout.read_bands if virtual else layout.bands
        rescale = _range(dataset, base, bands, layout, options, found)
    return Preparation(
        path=virtual.path if virtual else path,
        virtual=virtual,
        bands=layout.bands,
        read_bands=bands,
        dtype=layout.dtype,
        rescale=rescale,
        overviews=tuple(dataset.overviews(1)[level] for level in layout.levels),
        nodata=layout.nodata,
        key=json.dumps([PREPARATION_VERSION, repr(layout), [_digest(file) for file in hidden]]),
        notes=tuple(found.notes),
        warnings=tuple(found.warnings),
    )


def prepare_sheet(
    path: str, dataset: DatasetReader, options: ReadingOptions, *, given: str
) -> SheetPreparation:
    """Decide how a sheet of a mosaic is read: as a photograph of its own, but with all its bands and own values.

    Args:
        path: name that GDAL opens it by.
        dataset: the sheet, open.
        options: what the user says of it; polygons are left to the mosaic.
        given: path or URL that the user or the index names.

    Raises:
        SourceError: it lacks the bands, or its colours cannot be converted.
    """
    found = _Findings()
    layout = _layout(path, given, dataset, options, found)
    dtype = layout.dtype if layout.palette else dataset.dtypes[layout.bands[0] - 1]
    layout = replace(layout, dtype=dtype, kept=tuple(colour_bands(dataset)))
    # GDAL takes an alpha band of other types for an image, and a nodata value for a mask of each band.
    apart = layout.alpha is not None and dtype not in ("uint8", "uint16")
    several = layout.nodata is not None and (dataset.count > 1 or layout.mask)
    context = _Context(dataset, layout, _Outlines(), options, found)
    virtual, hidden = _virtual(path, context, needed=apart or several or _needs_virtual(dataset, layout))
    return SheetPreparation(
        path=virtual.path if virtual else path,
        virtual=virtual,
        palette=layout.palette,
        overviews=tuple(dataset.overviews(1)[level] for level in layout.levels),
        key=json.dumps([repr(layout), [_digest(file) for file in hidden]]),
        notes=tuple(found.notes),
        warnings=tuple(found.warnings),
    )


def _virtual(path: str, context: _Context, *, needed: bool) -> tuple[VirtualPhoto | None, list[MemoryFile]]:
    """The virtual photograph, if one is needed or something is hidden, and the rasters that hide it."""
    dataset, layout = context.file, context.layout
    virtual = VirtualPhoto(path, dataset, layout) if needed else None
    with open_dataset(virtual.path if virtual else path) as base:
        hidden = _hide(base, layout.read_bands if virtual else layout.bands, context)
    if hidden:
        if virtual is not None:
            virtual.close()
        virtual = VirtualPhoto(path, dataset, layout, hidden)
    return virtual, hidden


def _layout(
    path: str, given: str, dataset: DatasetReader, options: ReadingOptions, found: _Findings
) -> Layout:
    bands = choose_bands(given, dataset, options.bands)
    dtype = dataset.dtypes[bands[0] - 1]
    if np.dtype(dtype).kind not in "uif":
        raise SourceError(
            f"{given} has values of type {dtype}, which are not a picture: export it with real numbers"
        )
    palette = palette_bands(given, dataset, bands)
    bits = bits_of(dataset)
    if palette:
        dtype = "uint8"
    elif bits is not None and bits < 8:
        # Interpolated as they are, few values would stay few.
        dtype = "float32"
    levels = usable_overviews(path, dataset, bands)
    if len(levels) < len(dataset.overviews(1)):
        found.warn(
            "overviews-without-mask",
            "its overviews show what the photograph itself hides, so they are not used and low zooms will be slow. "
            "orthosharp info prints the command that makes them again",
        )
    nodata = dataset.nodatavals[bands[0] - 1]
    if options.nodata == "none":
        nodata = None
    elif options.nodata != "auto" and len(options.nodata) == 1:
        nodata = options.nodata[0]
    has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[bands[0] - 1]
    alpha = alpha_band(dataset)
    return Layout(bands, dtype, palette, nodata, alpha, has_mask and alpha is None, levels)


def _needs_virtual(dataset: DatasetReader, layout: Layout) -> bool:
    """Whether GDAL reads something else of the file by itself than it should."""
    return (
        layout.palette > 0
        or layout.dtype != dataset.dtypes[layout.bands[0] - 1]
        or not _same(layout.nodata, dataset.nodata)
        or (layout.nodata is not None and (layout.alpha is not None or layout.mask))
        or len(layout.levels) < len(dataset.overviews(1))
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


@dataclass(frozen=True)
class _Outlines:
    """Polygons in the photograph's CRS."""

    footprint: BaseGeometry | None = None
    excluded: BaseGeometry | None = None


def _outlines(dataset: DatasetReader, crs: CRS, options: ReadingOptions, found: _Findings) -> _Outlines:
    footprint = excluded = None
    photograph = box(*dataset.bounds)
    if options.footprint is not None:
        footprint = project(read_polygons(options.footprint, "--footprint"), crs, "--footprint")
        if not footprint.intersects(photograph):
            raise SettingsError(
                f"--footprint {options.footprint} does not touch the photograph: orthosharp info prints its bounds"
            )
        found.notes.append("what lies outside the footprint is masked")
    if options.exclude is not None:
        excluded = project(read_polygons(options.exclude, "--exclude"), crs, "--exclude")
        if excluded.intersects(photograph):
            found.notes.append("the excluded ground is masked, in every layer")
        else:
            found.warn(
                "exclusion-outside",
                f"the ground of --exclude {options.exclude.name} lies outside of the photograph: nothing is excluded",
            )
            excluded = None
    return _Outlines(footprint, excluded)


@dataclass(frozen=True)
class _Context:
    """What decides which pixels are hidden."""

    file: DatasetReader
    layout: Layout
    outlines: _Outlines
    options: ReadingOptions
    found: _Findings


def _hide(base: DatasetReader, bands: tuple[int, ...], context: _Context) -> list[MemoryFile]:
    """Rasters that mark what is hidden beyond what the file hides; none if that is nothing."""
    borders = list(_borders(base, bands, context))
    outlines = context.outlines
    if not borders and outlines == _Outlines():
        return []
    shapes = []
    for level in context.layout.levels:
        with open_dataset(context.file.name, overview_level=level) as overview:
            shapes.append(overview.shape)
    files, share = write_hidden(
        base, bands, borders, footprint=outlines.footprint, excluded=outlines.excluded, shapes=shapes
    )
    if share == 0:
        return []
    if share >= 1 and outlines != _Outlines():
        raise SettingsError(
            "--footprint and --exclude leave nothing of the photograph: check their polygons with orthosharp info"
        )
    return files


def _borders(base: DatasetReader, bands: tuple[int, ...], context: _Context) -> Iterator[Border]:
    options, found = context.options, context.found
    if options.nodata == "none":
        return
    if context.layout.kept is not None and options.nodata == "auto" and not may_have_border(base, bands):
        return  # one of many sheets, which would take long to read
    copy = read_small_copy(base, bands)
    if copy is None:
        found.warn(
            "borders-not-looked-for",
            "it is too large to look for borders without overviews. gdaladdo -r average FILE adds them; "
            "--nodata none leaves borders as they are",
        )
        return
    if options.nodata != "auto" and len(options.nodata) == 2:
        given = border_of_value(copy, *options.nodata)
        if given is None:
            found.warn(
                "nodata-not-found",
                f"no pixel at its edge is within {options.nodata[1]:g} of {options.nodata[0]:g}: "
                "--nodata hides nothing",
            )
        else:
            found.notes.append(_told(given, context, "as --nodata says"))
            yield given
        return
    layout = context.layout

    def read(place: Place) -> tuple[Values, Mask] | None:
        row, column, height, width = place
        with suppress(RasterioError, OSError), gdal_errors():
            return read_values(base, bands, window=Window(column, row, width, height))
        return None

    for border in search_borders(
        copy,
        _declared(context),
        layout.nodata,
        read,
        _pieces,
        shape=base.shape,
        lossy=is_lossy(context.file),
        look=options.nodata == "auto",
    ):
        if border.is_fringe:
            value = f"{border.value:g}"
            found.notes.append(f"the rim of its nodata value {value}, frayed by compression, is masked too")
        else:
            found.notes.append(_told(border, context, "--nodata none shows it"))
        yield border


def _pieces(mask: Mask) -> Iterator[Any]:
    """The connected pieces of bool [height, width] as GeoJSON polygons, in pixels."""
    found: Any = features.shapes(mask.astype(np.uint8), mask=mask)
    return (geometry for geometry, _ in found)


def _declared(context: _Context) -> Range | None:
    return (0.0, 255.0) if context.layout.palette else declared_range(context.file)


def _told(border: Border, context: _Context, remark: str) -> str:
    size = 100 * float(border.region.mean())
    what = "border"
    declared = _declared(context)
    if declared is not None and border.value in declared:
        dark = (border.value == declared[0]) != (is_negative(context.file) and not context.layout.palette)
        what = "black border" if dark else "white border"
    return f"a {what} of value {border.value:g}, about {size:.2g} % of the photograph, is masked: {remark}"


def _range(
    file: DatasetReader,
    base: DatasetReader,
    bands: tuple[int, ...],
    layout: Layout,
    options: ReadingOptions,
    found: _Findings,
) -> Range:
    declared = (0.0, 255.0) if layout.palette else declared_range(file)
    rescale = declared if options.rescale is None else options.rescale
    if rescale is None or rescale == "auto":
        copy = read_small_copy(base, bands) or read_scattered(base, bands)
        rescale = find_range(copy)
        low, high = (f"{value:.12g}" for value in rescale)
        found.notes.append(
            f"its values from {low} to {high} are shown, as found in it; --rescale {low},{high} fixes them"
        )
    low_value, high_value = rescale
    negative = is_negative(file) and not layout.palette
    return (high_value, low_value) if negative else (low_value, high_value)


def _digest(file: MemoryFile) -> str:
    return hashlib.sha256(file.getbuffer()).hexdigest()
