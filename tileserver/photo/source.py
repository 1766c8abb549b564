"""A georeferenced photograph, read as RGB and mask on any grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from tileserver.errors import ReadError, SourceChangedError, SourceError
from tileserver.photo.dataset_pool import DatasetPool, open_dataset
from tileserver.photo.fingerprint import files_of, fingerprint, states
from tileserver.photo.gdal_errors import GdalError, gdal_errors
from tileserver.photo.pixel_size import WGS84, horizontal, pixel_size
from tileserver.photo.warp import RANGES, WARP_TOLERANCE_PX, Array, Mask, parts, to_raster, warp
from tileserver.settings import Settings
from tileserver.tiling.grid import BBox
from tileserver.tiling.raster import Raster

SOURCE_CHANGED: Final = (
    "the photograph was replaced: the new one is shown in a moment, at the latest after a restart"
)
# Where a band is looked at to tell transparency from a picture, and the shades that transparency may have.
_SAMPLE_PX: Final = 256
_MOST_SHADES: Final = 64


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a photograph once it is open.

    Attributes:
        name: its file name without folder and suffix, or query in an address.
        crs: horizontal CRS.
        bounds: its ground in units of `crs`.
        bounds_lonlat: the same in degrees.
        width, height: size in pixels.
        dtype: of its bands, such as uint8.
        bands: the one or three bands that are shown, counted from 1.
        rescale: values that become black and white.
        pixel: ground size of its pixels.
        overviews: their factors, ascending.
        files: what it consists of: a mosaic's pictures too.
        fingerprint: hex digest that changes with the files.
        credit: whose photograph it is, as far as the file says; may be empty.
        warnings: what could be better, with the way to it.
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
        self.info = info
        self._states = states(info.files)
        self._pools = [DatasetPool(path, open_datasets)]
        self._pools += [DatasetPool(path, open_datasets, level) for level in range(len(info.overviews))]
        self._helpers = ThreadPoolExecutor(open_datasets, "orthosharp-read")

    @classmethod
    def open(
        cls,
        path: str,
        *,
        bands: tuple[int, ...] | None = None,
        rescale: tuple[float, float] | None = None,
        open_datasets: int = 8,
    ) -> Source:
        """Look at a file and refuse it if it cannot be served.

        Raises:
            SourceError: unreadable, without a CRS on Earth, across the antimeridian, or without fitting bands.
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
        """The photograph that the settings name as `source`; raises as `open`."""
        return cls.open(
            settings.source,
            bands=settings.bands,
            rescale=settings.rescale,
            open_datasets=settings.open_datasets,
        )

    @property
    def is_changed(self) -> bool:
        """Whether a file is another one than was opened, or is gone."""
        return states(self.info.files) != self._states

    def read(
        self, crs: CRS, transform: Affine, window: PixelWindow, pixel: PixelSize, *, overviews: bool
    ) -> Raster:
        """Warp a window of any grid out of the photograph.

        Args:
            crs: of the grid.
            transform: from the window's pixels to units of `crs`.
            window: wanted pixels of the grid; may lie partly or wholly outside the photograph.
            pixel: ground size of the grid's pixels.
            overviews: whether smaller copies inside the file may be used.

        Raises:
            ReadError: a block cannot be read.
            SourceChangedError: the file is not the one that was opened.
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
            # A pixel is nodata only where all of its bands are: pure red has a band of value 0.
            "UNIFIED_SRC_NODATA": "YES",
            # Else GDAL guesses the width of its filter from each block, and windows disagree.
            "XSCALE": repr(native.x_m / pixel.x_m),
            "YSCALE": repr(native.y_m / pixel.y_m),
        }
        values = np.empty((window.height, window.width, len(self.info.bands)), self.info.dtype)
        hidden = np.empty(values.shape[:2], np.bool_)

        def read_rows(rows: slice) -> None:
            place = {
                "transform": transform * Affine.translation(0, rows.start),
                "height": rows.stop - rows.start,
            }
            hidden[rows] = self._warp(level, options | place, values[rows])

        first, *others = parts(window.height)
        waiting = [self._helpers.submit(read_rows, rows) for rows in others]
        read_rows(first)
        for part in waiting:
            part.result()
        return to_raster(values, hidden, window, self.info.rescale)

    def _warp(self, level: int, options: dict[str, Any], values: Array) -> Mask:
        """Fill [height, width, bands] from the photograph or its overview; where it has no pixel."""

        def attempt() -> Mask:
            with gdal_errors(), self._pools[level].borrow() as dataset:
                return warp(dataset, self.info.bands, options, values)

        try:
            try:
                return attempt()
            except GdalError:
                # What GDAL noted of a damaged block in an earlier call of this thread, and rasterio finds only now.
                return attempt()
        except (RasterioError, OSError) as error:
            raise ReadError(
                "a block of the photograph cannot be read: it may be damaged, or its store cannot be reached"
            ) from error

    def close(self) -> None:
        """Close idle files."""
        self._helpers.shutdown(wait=False)
        for pool in self._pools:
            pool.close()

    def _overview(self, pixel: PixelSize) -> int:
        """Number of the coarsest overview that is no coarser than `pixel`; 0 is the picture itself."""
        # 2 %: an overview of 1.22 m serves pixels of 1.21 m.
        limit = 1.02 * pixel.gsd_m / self.info.pixel.gsd_m
        return sum(factor <= limit for factor in self.info.overviews)


def _describe(
    path: str, dataset: DatasetReader, bands: tuple[int, ...] | None, rescale: tuple[float, float] | None
) -> SourceInfo:
    if dataset.crs is None or dataset.transform.is_identity:
        raise SourceError(
            f"{path} does not say where on Earth it is. Tell it with: "
            "gdal_edit.py -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM FILE, "
            "or gdalwarp if it has control points"
        )
    crs = horizontal(dataset.crs)
    if not (crs.is_geographic or crs.is_projected):
        raise SourceError(
            f"{path} has a CRS that is not tied to the Earth: name the right one with "
            "gdal_edit.py -a_srs EPSG:CODE FILE"
        )
    # Sorted, since the rows of some rasters run from south to north.
    left, right = sorted((dataset.bounds.left, dataset.bounds.right))
    bottom, top = sorted((dataset.bounds.bottom, dataset.bounds.top))
    bounds = BBox(left, bottom, right, top)
    matrix = dataset.transform
    lonlat = BBox(*transform_bounds(crs, WGS84, *bounds, densify_pts=21))
    if not all(math.isfinite(value) for value in lonlat):
        raise SourceError(
            f"{path} lies outside of its own CRS: correct it with gdal_edit.py -a_srs or -a_ullr"
        )
    # A trifle more than 180 is rounding of a picture that ends there.
    if not -180.000001 <= lonlat.left < lonlat.right <= 180.000001:
        raise SourceError(
            f"{path} crosses the antimeridian, which no tile does: "
            "cut it there with gdal_translate -projwin and serve one part"
        )
    return SourceInfo(
        # What follows the name in an address may be a signature.
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
            f"{path} has a colour table. Expand it with: gdal_translate -expand rgb IN.tif OUT.tif"
        )
    usable: tuple[int, ...] = tuple(non_alpha_indexes(dataset))
    if bands is not None:
        missing = [band for band in bands if band not in usable]
        if missing:
            way_out = (
                f"if it is infrared, say so: gdal_edit.py -colorinterp_{missing[0]} undefined FILE"
                if missing[0] <= dataset.count
                else "look up what it has with gdalinfo"
            )
            raise SourceError(
                f"{path} has no colour band {missing[0]}: choose among {list(usable)} with --bands; {way_out}"
            )
        return bands
    if not usable:
        raise SourceError(f"{path} has nothing but an alpha band: give a photograph")
    return usable[:3] if len(usable) >= 3 else usable[:1]


def _choose_range(path: str, dtype: str, rescale: tuple[float, float] | None) -> tuple[float, float]:
    if rescale is not None:
        return rescale
    if dtype not in RANGES:
        raise SourceError(
            f"{path} has values of type {dtype}: say which are black and white with --rescale MIN,MAX"
        )
    return RANGES[dtype]


def _credit(dataset: DatasetReader) -> str:
    tags = {key.upper(): str(value).strip() for key, value in dataset.tags().items()}
    names = ("CREDIT", "TIFFTAG_COPYRIGHT", "COPYRIGHT", "TIFFTAG_IMAGEDESCRIPTION")
    return next((tags[name] for name in names if tags.get(name)), "")


def _warnings(dataset: DatasetReader) -> Iterator[str]:
    if max(dataset.width, dataset.height) > 512 and not dataset.overviews(1):
        way_out = (
            "Let the mosaic use those of its files: "
            "gdaladdo --config VRT_VIRTUAL_OVERVIEWS YES -r average MOSAIC.vrt 2 4 8 16"
            if dataset.driver == "VRT"
            else f"Make a COG with: gdal_translate -of COG {_compression(dataset)} IN.tif OUT.tif"
        )
        yield f"the photograph has no overviews, so small zooms will be slow. {way_out}"
    band = _false_alpha(dataset)
    if band is not None:
        yield (
            f"band {band} is tagged as transparency but looks like a picture, and hides pixels. If it is infrared, "
            f"say so: gdal_edit.py -colorinterp_{band} undefined FILE"
        )


def _compression(dataset: DatasetReader) -> str:
    """JPEG takes eight bits, and would turn the border of nodata into pixels that are nearly nodata."""
    plain = dataset.count == 3 and set(dataset.dtypes) == {"uint8"} and dataset.nodata is None
    return "-co COMPRESS=JPEG -co QUALITY=90" if plain else "-co COMPRESS=DEFLATE -co PREDICTOR=YES"


def _false_alpha(dataset: DatasetReader) -> int | None:
    """Number of a band that is tagged as transparency and looks like a picture, as infrared often does."""
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    number = dataset.colorinterp.index(ColorInterp.alpha) + 1
    side = min(_SAMPLE_PX, dataset.width, dataset.height)
    middle = Window((dataset.width - side) // 2, (dataset.height - side) // 2, side, side)
    try:
        values = dataset.read(number, window=middle)
    except RasterioError:
        return None  # a damaged block is told to whoever asks for it
    # Transparency has soft edges at most.
    return number if len(np.unique(values)) > _MOST_SHADES else None
