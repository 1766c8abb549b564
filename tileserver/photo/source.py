"""A georeferenced photograph: checked when opened, and read as RGB with a mask on any grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from sr_model import PixelWindow
from sr_model.ground import PixelSize
from sr_model.measure import PhotoTraits
from tileserver.errors import ReadError, SourceChangedError, SourceError
from tileserver.photo.colours import is_grey, read_small
from tileserver.photo.damage import describe_damage
from tileserver.photo.dataset_pool import DatasetPool, open_dataset
from tileserver.photo.declared import check_bands_of_table
from tileserver.photo.file_watch import FileWatch
from tileserver.photo.fingerprint import FileState, file_states, fingerprints
from tileserver.photo.gdal_errors import GdalError, gdal_errors
from tileserver.photo.inputs.defects import file_notices, with_commands
from tileserver.photo.inputs.placing import AS_THE_FILE_SAYS, Placing
from tileserver.photo.inputs.prepare import Prepared, prepare
from tileserver.photo.inputs.virtual import is_virtual
from tileserver.photo.inputs.wholeness import missing_part
from tileserver.photo.inputs.years import year_of_photograph
from tileserver.photo.nodata import Array, Mask
from tileserver.photo.pixel_size import WGS84, horizontal_crs, pixel_size
from tileserver.photo.position import Position, check_position, check_units, find_position
from tileserver.photo.preparation import prepare_reading
from tileserver.photo.reading import Preparation, ReadingOptions
from tileserver.photo.traits import estimate_traits
from tileserver.photo.virtual import Closable
from tileserver.photo.warp import WARP_TOLERANCE_PX, row_parts, to_raster, warp
from tileserver.settings import Settings
from tileserver.tiling.grid import BBox
from tileserver.tiling.raster import Raster

SOURCE_CHANGED: Final = (
    "the photograph was replaced while it was served: the new one will be served shortly, or after a restart"
)


@dataclass(frozen=True)
class SourceInfo:
    """Metadata of an open photograph.

    Attributes:
        name: file name without folder, suffix and URL query; of a mosaic, that of its folder or index.
        crs: horizontal CRS.
        bounds: its ground in units of `crs`.
        bounds_lonlat: the same in degrees.
        width, height: size in pixels.
        dtype: data type of the bands, such as uint8.
        bands: the one or three bands that are shown, counted from 1.
        rescale: values that become black and white; the first is the higher one in a negative.
        nodata: value that hides pixels, if there is one.
        reading: what else decides how pixels are read and which are hidden, as a part of keys.
        pixel: size of a pixel on the ground, at the centre of the photograph.
        overviews: factors of the overviews that are used, ascending.
        files: paths of all files it consists of, including a mosaic's, and of the polygons that hide parts of it.
        fingerprint: SHA-256 (hex) that changes with the files.
        undated_fingerprint: the same without the files' times, in which copies of a photograph may differ.
        credit: copyright holder as named in the file's tags or its STAC item; may be empty.
        notes: what was found and decided when it was opened.
        warnings: defects that do not prevent serving, each with its remedy; see `tileserver.photo.notice`.
        position: how exactly its place on the ground is known.
        sheets: number of files of a mosaic; 1 for a single photograph.
        date: when it was taken, if its STAC item tells; may be empty.
        year: of that, or from its name or tags; None if nothing tells.
    """

    name: str
    crs: CRS
    bounds: BBox
    bounds_lonlat: BBox
    width: int
    height: int
    dtype: str
    bands: tuple[int, ...]
    rescale: tuple[float, float]
    nodata: float | None
    reading: str
    pixel: PixelSize
    overviews: tuple[int, ...]
    files: tuple[str, ...]
    fingerprint: str
    undated_fingerprint: str
    credit: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    position: Position
    sheets: int = 1
    date: str = ""
    year: int | None = None


class Source:
    """An open photograph; safe to use from many threads.

    Attributes:
        path: name that GDAL opens it by, as it is to be read: with its colours expanded and all its masks.
        bands: bands to read by that name, one (grey) or three (red, green, blue).
        info: what is known of it.
    """

    def __init__(
        self,
        info: SourceInfo,
        preparation: Preparation,
        states: tuple[FileState, ...],
        open_datasets: int,
        sheets: tuple[Closable, ...] = (),
    ) -> None:
        self.path, self.bands = preparation.path, preparation.read_bands
        self.info = info
        self._dtype = preparation.dtype
        self._virtual = (*((preparation.virtual,) if preparation.virtual else ()), *sheets)
        self._watch = FileWatch(info.files, states)
        self._pools = [DatasetPool(self.path, open_datasets)]
        self._pools += [DatasetPool(self.path, open_datasets, level) for level in range(len(info.overviews))]
        self._readers = ThreadPoolExecutor(open_datasets, "orthosharp-read")

    @classmethod
    def open(
        cls,
        path: str | Sequence[str],
        *,
        bands: tuple[int, ...] | None = None,
        rescale: tuple[float, float] | Literal["auto"] | None = None,
        nodata: tuple[float, ...] | Literal["auto", "none"] = "auto",
        footprint: Path | None = None,
        exclude: Path | None = None,
        open_datasets: int = 8,
        placing: Placing = AS_THE_FILE_SAYS,
    ) -> Source:
        """Open a photograph.

        Args:
            path: path or URL that GDAL opens, a folder, pattern, index of sheets, STAC item or service, or several.
            bands: the bands to show, one (grey) or three (red, green, blue), counted from 1; by default those that are
                tagged so, else the first three, or the first if there are fewer.
            rescale: values that become black and white; `auto` finds them in the photograph. By default the range of
                the dtype or of its bits, or `auto` where they do not tell.
            nodata: `auto` hides black and white borders, `none` shows them and what has the file's nodata value; one
                value is nodata; of two, the first is, where it is connected to the edge, within the second.
            footprint: GeoJSON file with the ground that is shown.
            exclude: GeoJSON file with ground that is hidden.
            open_datasets: largest number of datasets open at the same time, for full resolution and per overview.
            placing: where it lies, and what to do about absent sheets.

        Raises:
            SettingsError: `placing` is invalid; footprint or exclusion cannot be read, or leave nothing.
            SourceError: it or one of its sheets cannot be read, it has no CRS on Earth, crosses the antimeridian, or
                lacks the bands.
        """
        options = ReadingOptions(bands, rescale, nodata, footprint, exclude)
        prepared = prepare(path, placing, options)
        if prepared.nodata is not None:
            options = replace(options, nodata=prepared.nodata)
        if prepared.has_colour_table:
            check_bands_of_table(prepared.name, bands)
            options = replace(options, bands=None)
        try:
            with gdal_errors(), open_dataset(prepared.path) as dataset:
                # Before anything is read, so that a replacement from now on is noticed.
                states = file_states((*prepared.files, *options.files))
                info, preparation = _describe(prepared, dataset, options)
        except (RasterioError, OSError) as error:
            cut = missing_part(prepared.sampled) if prepared.sampled else ""
            why = f"it was cut short: {cut}" if cut else f"{describe_damage(error)}. Check it with gdalinfo"
            raise SourceError(f"{prepared.name} cannot be read: {why}") from error
        check_position(prepared.name, info.position, info.pixel.gsd_m, placing.inaccurate)
        return cls(info, preparation, states, open_datasets, prepared.virtual)

    @classmethod
    def of_settings(cls, settings: Settings) -> Source:
        """Open the photograph that the settings name as `source`; raises as `open`."""
        return cls.open(
            settings.source,
            bands=settings.bands,
            rescale=settings.rescale,
            nodata=settings.nodata,
            footprint=settings.footprint,
            exclude=settings.exclude,
            open_datasets=settings.open_datasets,
            placing=Placing.of_settings(settings),
        )

    @cached_property
    def small_copy(self) -> Raster:
        """The whole photograph in about 1024 px a side, read at the first call; see `read_small`.

        Raises:
            ReadError: nothing of it can be read.
        """
        with gdal_errors(), open_dataset(self.path) as dataset:
            return read_small(dataset, bands=self.bands, rescale=self.info.rescale, name=self.info.name)[0]

    @cached_property
    def is_grey(self) -> bool:
        """Whether it is black and white: one band is shown, or three that are equal all over the small copy."""
        if len(self.bands) == 1:
            return True
        # What cannot be read is named by those who need its pixels.
        with suppress(ReadError):
            return is_grey(self.small_copy)
        return False

    @cached_property
    def traits(self) -> PhotoTraits:
        """Blur, unsharp mask and grain, estimated from its edges at the first call."""
        with gdal_errors(), open_dataset(self.path) as dataset:
            return estimate_traits(dataset, bands=self.bands, rescale=self.info.rescale)

    @property
    def is_changed(self) -> bool:
        """Whether one of the files was replaced, modified or removed since it was opened; see `FileWatch`."""
        return self._watch.is_changed

    def read(
        self, crs: CRS, transform: Affine, window: PixelWindow, pixel: PixelSize, *, overviews: bool
    ) -> Raster:
        """Warp the photograph to a window of another grid.

        Args:
            crs: CRS of the grid.
            transform: affine transform from the window's pixels to units of `crs`.
            window: the window to fill; may lie partly or wholly outside the photograph.
            pixel: size of the grid's pixels on the ground.
            overviews: whether overviews may be read.

        Raises:
            ReadError: a block cannot be read.
            SourceChangedError: a file was replaced since it was opened, or while it was read.
        """
        self._check_unchanged()
        level = self._overview(pixel) if overviews else 0
        factor = self.info.overviews[level - 1] if level else 1
        native = self.info.pixel.times(factor)
        options = {
            "src_crs": self.info.crs,
            "crs": crs,
            "width": window.width,
            "tolerance": WARP_TOLERANCE_PX,
            # A pixel is nodata only if all of its bands are: pure red has bands of value 0.
            "UNIFIED_SRC_NODATA": "YES",
            # Without these, GDAL estimates the kernel's width for each block, and windows disagree.
            "XSCALE": repr(native.x_m / pixel.x_m),
            "YSCALE": repr(native.y_m / pixel.y_m),
        }
        values = np.empty((window.height, window.width, len(self.bands)), self._dtype)
        hidden = np.empty(values.shape[:2], np.bool_)

        def read_rows(rows: slice) -> None:
            part = {
                "transform": transform * Affine.translation(0, rows.start),
                "height": rows.stop - rows.start,
            }
            hidden[rows] = self._warp(level, options | part, values[rows])

        first, *others = row_parts(window.height)
        reads = [self._readers.submit(read_rows, rows) for rows in others]
        read_rows(first)
        for read in reads:
            read.result()
        # Pixels of another file must not be cached under this one's key.
        self._check_unchanged()
        return to_raster(values, hidden, window, self.info.rescale)

    def _check_unchanged(self) -> None:
        if self.is_changed:
            raise SourceChangedError(SOURCE_CHANGED)

    def _warp(self, level: int, options: dict[str, Any], values: Array) -> Mask:
        """Fill `values` from full resolution (level 0) or an overview; return the mask of pixels without data."""

        def attempt() -> Mask:
            with gdal_errors(), self._pools[level].borrow() as dataset:
                return warp(dataset, self.bands, options, values)

        try:
            try:
                return attempt()
            except GdalError:
                # rasterio may raise an error that GDAL recorded in an earlier call of this thread: try once more.
                return attempt()
        except (RasterioError, OSError) as error:
            raise ReadError(
                "a block of the photograph cannot be read: the file may be damaged, or its storage unreachable",
                describe_damage(error),
            ) from error

    def close(self) -> None:
        """Close the files that no read is using."""
        self._readers.shutdown(wait=False)
        for pool in self._pools:
            pool.close()
        for virtual in self._virtual:
            virtual.close()

    def _overview(self, pixel: PixelSize) -> int:
        """Return the coarsest overview that is at least as fine as `pixel`, counted from 1; 0 is full resolution."""
        # A tolerance of 2 %: an overview of 1.22 m serves pixels of 1.21 m.
        limit = 1.02 * pixel.gsd_m / self.info.pixel.gsd_m
        return sum(factor <= limit for factor in self.info.overviews)


def _describe(
    prepared: Prepared, dataset: DatasetReader, options: ReadingOptions
) -> tuple[SourceInfo, Preparation]:
    path = prepared.name if is_virtual(prepared.path) else prepared.path
    crs = horizontal_crs(prepared.crs)
    if not (crs.is_geographic or crs.is_projected):
        raise SourceError(
            f"{path} has a local CRS that is not tied to the Earth: name the right one with --crs EPSG:CODE"
        )
    # Sorted, because the rows of some rasters run from south to north.
    left, right = sorted((dataset.bounds.left, dataset.bounds.right))
    bottom, top = sorted((dataset.bounds.bottom, dataset.bounds.top))
    bounds = BBox(left, bottom, right, top)
    matrix = dataset.transform
    check_units(path, crs, bounds, matrix)
    lonlat = BBox(*transform_bounds(crs, WGS84, *bounds, densify_pts=21))
    if not all(math.isfinite(value) for value in lonlat):
        raise SourceError(
            f"{path} lies outside the area of use of its CRS: name the right one with --crs EPSG:CODE, or correct its "
            "place with gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM FILE"
        )
    # A photograph that ends at 180 degrees may exceed them by rounding.
    if not -180.000001 <= lonlat.left < lonlat.right <= 180.000001:
        raise SourceError(
            f"{path} crosses the antimeridian, which tiles cannot: "
            "cut it there with gdal_translate -projwin and serve one part"
        )
    pixel = pixel_size(crs, bounds.centre, (matrix.a, matrix.d), (matrix.b, matrix.e))
    position = find_position(crs, bounds, lonlat)
    given = prepared.sampled or prepared.name
    preparation = prepare_reading(prepared.path, dataset, crs, options, given=given)
    how = prepared.how + position.key
    digests = fingerprints(prepared.sampled, dataset, prepared.files, how)
    warnings = (
        *prepared.warnings,
        *position.notices(pixel.gsd_m, prepared.given),
        *file_notices(dataset, prepared),
        *with_commands(preparation.warnings, prepared),
    )
    info = SourceInfo(
        name=prepared.name,
        crs=crs,
        bounds=bounds,
        bounds_lonlat=lonlat,
        width=dataset.width,
        height=dataset.height,
        dtype=dataset.dtypes[0],
        bands=preparation.bands,
        rescale=preparation.rescale,
        nodata=preparation.nodata,
        reading=preparation.key,
        pixel=pixel,
        overviews=preparation.overviews,
        files=(*prepared.files, *options.files),
        fingerprint=digests.dated,
        undated_fingerprint=digests.undated,
        credit=prepared.credit,
        notes=(*prepared.notes, *preparation.notes),
        warnings=warnings,
        position=position,
        sheets=prepared.sheets,
        date=prepared.date,
        year=year_of_photograph(
            prepared.name, prepared.date, prepared.files[:1] if prepared.sheets == 1 else ()
        ),
    )
    return info, preparation
