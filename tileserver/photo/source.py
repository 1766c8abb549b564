"""A georeferenced photograph: checked when opened, and read as RGB with a mask on any grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from rio_tiler.utils import non_alpha_indexes

from sr_model import PixelWindow
from sr_model.ground import PixelSize
from sr_model.measure import PhotoTraits
from tileserver.errors import ReadError, SourceChangedError, SourceError
from tileserver.photo.dataset_pool import DatasetPool, open_dataset
from tileserver.photo.fingerprint import file_states, files_of, fingerprint
from tileserver.photo.gdal_errors import GdalError, gdal_errors
from tileserver.photo.nodata import Array, Mask
from tileserver.photo.pixel_size import WGS84, horizontal_crs, pixel_size
from tileserver.photo.traits import estimate_traits
from tileserver.photo.warp import RANGES, WARP_TOLERANCE_PX, row_parts, to_raster, warp
from tileserver.settings import Settings
from tileserver.tiling.grid import BBox
from tileserver.tiling.raster import Raster

SOURCE_CHANGED: Final = (
    "the photograph was replaced while it was served: the new one will be served shortly, or after a restart"
)
# A band tagged as alpha is taken for an image if a sample of this size has more distinct values than this.
_SAMPLE_PX: Final = 256
_MAX_ALPHA_VALUES: Final = 64


@dataclass(frozen=True)
class SourceInfo:
    """Metadata of an open photograph.

    Attributes:
        name: file name without folder, suffix and URL query.
        crs: horizontal CRS.
        bounds: its ground in units of `crs`.
        bounds_lonlat: the same in degrees.
        width, height: size in pixels.
        dtype: data type of the bands, such as uint8.
        bands: the one or three bands that are shown, counted from 1.
        rescale: values that become black and white.
        pixel: size of a pixel on the ground, at the centre of the photograph.
        overviews: overview factors, ascending.
        files: paths of all files it consists of, including a mosaic's.
        fingerprint: SHA-256 (hex) that changes with the files.
        credit: copyright holder as named in the file's tags; may be empty.
        warnings: defects that do not prevent serving, each with its remedy.
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
    pixel: PixelSize
    overviews: tuple[int, ...]
    files: tuple[str, ...]
    fingerprint: str
    credit: str
    warnings: tuple[str, ...]


class Source:
    """An open photograph; safe to use from many threads."""

    def __init__(self, path: str, info: SourceInfo, open_datasets: int) -> None:
        self.path = path
        self.info = info
        self._states = file_states(info.files)
        self._pools = [DatasetPool(path, open_datasets)]
        self._pools += [DatasetPool(path, open_datasets, level) for level in range(len(info.overviews))]
        self._readers = ThreadPoolExecutor(open_datasets, "orthosharp-read")

    @classmethod
    def open(
        cls,
        path: str,
        *,
        bands: tuple[int, ...] | None = None,
        rescale: tuple[float, float] | None = None,
        open_datasets: int = 8,
    ) -> Source:
        """Open a photograph.

        Args:
            path: path or URL that GDAL opens.
            bands: the bands to show, one (grey) or three (red, green, blue), counted from 1; by default the first
                three, or the first if there are fewer.
            rescale: values that become black and white; by default the range of the dtype.
            open_datasets: largest number of datasets open at the same time, for full resolution and per overview.

        Raises:
            SourceError: it cannot be read, has no CRS on Earth, crosses the antimeridian, or lacks the bands.
        """
        try:
            with gdal_errors(), open_dataset(path) as dataset:
                info = _describe(path, dataset, bands, rescale)
        except (RasterioError, OSError) as error:
            raise SourceError(
                f"{path} cannot be read: {str(error).rstrip('.')}. Check it with gdalinfo"
            ) from error
        return cls(path, info, open_datasets)

    @classmethod
    def of_settings(cls, settings: Settings) -> Source:
        """Open the photograph that the settings name as `source`; raises as `open`."""
        return cls.open(
            settings.source,
            bands=settings.bands,
            rescale=settings.rescale,
            open_datasets=settings.open_datasets,
        )

    @property
    def is_grey(self) -> bool:
        """Whether it is black and white: one band is shown."""
        return len(self.info.bands) == 1

    @cached_property
    def traits(self) -> PhotoTraits:
        """Blur, unsharp mask and grain, estimated from its edges at the first call."""
        with gdal_errors(), open_dataset(self.path) as dataset:
            return estimate_traits(dataset, bands=self.info.bands, rescale=self.info.rescale)

    @property
    def is_changed(self) -> bool:
        """Whether one of the files was replaced, modified or removed since it was opened."""
        return file_states(self.info.files) != self._states

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
            SourceChangedError: a file was replaced since it was opened.
        """
        if self.is_changed:
            raise SourceChangedError(SOURCE_CHANGED)
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
        values = np.empty((window.height, window.width, len(self.info.bands)), self.info.dtype)
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
        return to_raster(values, hidden, window, self.info.rescale)

    def _warp(self, level: int, options: dict[str, Any], values: Array) -> Mask:
        """Fill `values` from full resolution (level 0) or an overview; return the mask of pixels without data."""

        def attempt() -> Mask:
            with gdal_errors(), self._pools[level].borrow() as dataset:
                return warp(dataset, self.info.bands, options, values)

        try:
            try:
                return attempt()
            except GdalError:
                # rasterio may raise an error that GDAL recorded in an earlier call of this thread: try once more.
                return attempt()
        except (RasterioError, OSError) as error:
            raise ReadError(
                "a block of the photograph cannot be read: the file may be damaged, or its storage unreachable"
            ) from error

    def close(self) -> None:
        """Close the files that no read is using."""
        self._readers.shutdown(wait=False)
        for pool in self._pools:
            pool.close()

    def _overview(self, pixel: PixelSize) -> int:
        """Return the coarsest overview that is at least as fine as `pixel`, counted from 1; 0 is full resolution."""
        # A tolerance of 2 %: an overview of 1.22 m serves pixels of 1.21 m.
        limit = 1.02 * pixel.gsd_m / self.info.pixel.gsd_m
        return sum(factor <= limit for factor in self.info.overviews)


def _describe(
    path: str, dataset: DatasetReader, bands: tuple[int, ...] | None, rescale: tuple[float, float] | None
) -> SourceInfo:
    if dataset.crs is None or dataset.transform.is_identity:
        raise SourceError(
            f"{path} is not georeferenced. Georeference it with: "
            "gdal_edit.py -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM FILE, "
            "or with gdalwarp if it has ground control points"
        )
    crs = horizontal_crs(dataset.crs)
    if not (crs.is_geographic or crs.is_projected):
        raise SourceError(
            f"{path} has a local CRS that is not tied to the Earth: set the right one with "
            "gdal_edit.py -a_srs EPSG:CODE FILE"
        )
    # Sorted, because the rows of some rasters run from south to north.
    left, right = sorted((dataset.bounds.left, dataset.bounds.right))
    bottom, top = sorted((dataset.bounds.bottom, dataset.bounds.top))
    bounds = BBox(left, bottom, right, top)
    matrix = dataset.transform
    lonlat = BBox(*transform_bounds(crs, WGS84, *bounds, densify_pts=21))
    if not all(math.isfinite(value) for value in lonlat):
        raise SourceError(
            f"{path} lies outside the area of use of its CRS: correct it with gdal_edit.py -a_srs or -a_ullr"
        )
    # A photograph that ends at 180 degrees may exceed them by rounding.
    if not -180.000001 <= lonlat.left < lonlat.right <= 180.000001:
        raise SourceError(
            f"{path} crosses the antimeridian, which tiles cannot: "
            "cut it there with gdal_translate -projwin and serve one part"
        )
    return SourceInfo(
        # The query of a URL may hold a signature.
        name=Path(path.split("?")[0]).stem,
        crs=crs,
        bounds=bounds,
        bounds_lonlat=lonlat,
        width=dataset.width,
        height=dataset.height,
        dtype=dataset.dtypes[0],
        bands=_choose_bands(path, dataset, bands),
        rescale=_choose_range(path, dataset.dtypes[0], rescale),
        pixel=pixel_size(crs, bounds.centre, (matrix.a, matrix.d), (matrix.b, matrix.e)),
        overviews=tuple(dataset.overviews(1)),
        files=files_of(path, dataset),
        fingerprint=fingerprint(path, dataset),
        credit=_credit(dataset),
        warnings=tuple(_warnings(dataset)),
    )


def _choose_bands(path: str, dataset: DatasetReader, bands: tuple[int, ...] | None) -> tuple[int, ...]:
    if dataset.colorinterp[0] == ColorInterp.palette:
        raise SourceError(
            f"{path} has a colour table. Expand it to RGB with: gdal_translate -expand rgb IN.tif OUT.tif"
        )
    usable: tuple[int, ...] = tuple(non_alpha_indexes(dataset))
    if bands is not None:
        missing = [band for band in bands if band not in usable]
        if missing:
            way_out = (
                f"it is tagged as alpha; if it is infrared, run gdal_edit.py -colorinterp_{missing[0]} undefined FILE"
                if missing[0] <= dataset.count
                else "gdalinfo lists its bands"
            )
            raise SourceError(
                f"{path} has no colour band {missing[0]}: choose among {list(usable)} with --bands; {way_out}"
            )
        return bands
    if not usable:
        raise SourceError(f"{path} has only an alpha band: give a file with at least one image band")
    return usable[:3] if len(usable) >= 3 else usable[:1]


def _choose_range(path: str, dtype: str, rescale: tuple[float, float] | None) -> tuple[float, float]:
    if rescale is not None:
        return rescale
    if dtype not in RANGES:
        raise SourceError(
            f"{path} has values of type {dtype}: name the values that become black and white with --rescale MIN,MAX"
        )
    return RANGES[dtype]


def _credit(dataset: DatasetReader) -> str:
    tags = {key.upper(): str(value).strip() for key, value in dataset.tags().items()}
    names = ("CREDIT", "TIFFTAG_COPYRIGHT", "COPYRIGHT", "TIFFTAG_IMAGEDESCRIPTION")
    return next((tags[name] for name in names if tags.get(name)), "")


def _warnings(dataset: DatasetReader) -> Iterator[str]:
    if max(dataset.width, dataset.height) > 512 and not dataset.overviews(1):
        way_out = (
            "Let the mosaic use the overviews of its files: "
            "gdaladdo --config VRT_VIRTUAL_OVERVIEWS YES -r average MOSAIC.vrt 2 4 8 16"
            if dataset.driver == "VRT"
            else f"Make a COG with: gdal_translate -of COG {_compression(dataset)} IN.tif OUT.tif"
        )
        yield f"the photograph has no overviews, so low zooms will be slow. {way_out}"
    band = _false_alpha(dataset)
    if band is not None:
        yield (
            f"band {band} is tagged as alpha but looks like an image, and hides pixels. If it is infrared, "
            f"run: gdal_edit.py -colorinterp_{band} undefined FILE"
        )


def _compression(dataset: DatasetReader) -> str:
    """Return creation options for a COG: JPEG only for 8-bit RGB without nodata, whose borders it would blur."""
    plain = dataset.count == 3 and set(dataset.dtypes) == {"uint8"} and dataset.nodata is None
    return "-co COMPRESS=JPEG -co QUALITY=90" if plain else "-co COMPRESS=DEFLATE -co PREDICTOR=YES"


def _false_alpha(dataset: DatasetReader) -> int | None:
    """Return the number of a band tagged as alpha that looks like an image, as infrared often is; else None."""
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    number = dataset.colorinterp.index(ColorInterp.alpha) + 1
    side = min(_SAMPLE_PX, dataset.width, dataset.height)
    middle = Window((dataset.width - side) // 2, (dataset.height - side) // 2, side, side)
    try:
        values = dataset.read(number, window=middle)
    except RasterioError:
        return None  # a damaged block is reported when a tile needs it
    # A real alpha band has few values: 0, 255, and some between them at soft edges.
    return number if len(np.unique(values)) > _MAX_ALPHA_VALUES else None
