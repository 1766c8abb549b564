"""Windows of a photograph in any place, turned and scaled, resampled once."""

from __future__ import annotations

import hashlib
import math
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as warp_transform

from training.measure.flat_fill import Colour, edge_fills
from training.pairs.grid import pixel_at
from training.pairs.reading import NOTHING_SAID, Read, resolve, told_if_damaged

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

# Of the transformer; rasterio cannot take 0, and this is exact for every purpose.
_WARP_TOLERANCE_PX: Final = 1e-4
# Side of the copy in which collars are looked for.
_SMALL_PX: Final = 1024
# GDAL and GIS programs write these beside a raster; they say nothing about its pixels.
_ASIDE: Final = (".aux.xml", ".ovr")


class Photo(AbstractContextManager["Photo"]):
    """Reads windows of a photograph in a CRS; every thread gets a handle of its own, as GDAL demands."""

    def __init__(self, path: Path, crs: CRS, read: Read | None = None) -> None:
        """Prepare.

        Args:
            path: of the photograph.
            crs: of the windows.
            read: how its values are read; by default as the file says.

        Raises:
            PairError: see `training.pairs.reading.resolve`.
        """
        self._path, self._crs = path, crs
        if read is None:
            with rasterio.open(path) as source:
                read = resolve(path, source, NOTHING_SAID)
        self._read = read
        self._local = threading.local()
        self._handles: list[Any] = []

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.close()

    def fills(self, least_px: float) -> list[Colour]:
        """Colours that fill what the photograph does not show at its edges, without a tag.

        Args:
            least_px: side of a square of one colour, in the photograph's pixels, that does not show ground.

        Raises:
            PairError: the file is damaged.
        """
        with told_if_damaged(self._path), rasterio.open(self._path) as source:
            factor = max(1.0, max(source.width, source.height) / _SMALL_PX)
            shape = max(1, round(source.height / factor)), max(1, round(source.width / factor))
            values = source.read(self._read.bands, out_shape=(len(self._read.bands), *shape))
        pixels = self._read.to_bytes(values).transpose(1, 2, 0)
        return edge_fills(np.ascontiguousarray(np.broadcast_to(pixels, (*shape, 3))), least_px / factor)

    def _source(self) -> Any:
        if not hasattr(self._local, "source"):
            self._local.source = rasterio.open(self._path)
            self._handles.append(self._local.source)
        return self._local.source

    def read(self, transform: Affine, side_px: int) -> tuple[UInt8Array, BoolArray]:
        """Read a square window by cubic convolution, as the server does.

        Returns:
            uint8 [side, side, 3], and bool [side, side], true where there is data.

        Raises:
            PairError: the file is damaged there.
        """
        source = self._source()
        with (
            told_if_damaged(self._path),
            WarpedVRT(
                source,
                src_crs=self._read.crs,
                crs=self._crs,
                transform=transform,
                width=side_px,
                height=side_px,
                resampling=Resampling.cubic,
                tolerance=_WARP_TOLERANCE_PX,
                **self._kernel_width(source, transform),
                **self._nodata_options(source),
            ) as vrt,
        ):
            values = vrt.read(self._read.bands)
            nodata = self._read.nodata
            valid = vrt.dataset_mask() > 0 if nodata is None else ~_are_nodata(values, nodata)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(axis=0)
        if self._read.hidden is not None:
            valid &= ~self._read.hidden.on(transform, side_px, (self._read.crs, self._crs))
        pixels = self._read.to_bytes(values)
        rgb = np.broadcast_to(pixels.transpose(1, 2, 0), (side_px, side_px, 3))
        return np.ascontiguousarray(rgb), valid

    def _kernel_width(self, source: Any, matrix: Affine) -> dict[str, str]:
        """Options for the width of the cubic kernel, as the server sets them.

        GDAL's own estimate differs from window to window, and gives other pixels: by a third of a grey level at 0.1 m
        read at 0.3 m.
        """
        left, bottom, right, top = source.bounds
        centre = (left + right) / 2, (bottom + top) / 2
        xs, ys = warp_transform(self._read.crs, self._crs, [centre[0]], [centre[1]])[:2]
        native, pixel = (
            pixel_at(self._read.crs, source.transform, centre),
            pixel_at(self._crs, matrix, (xs[0], ys[0])),
        )
        return {"XSCALE": repr(native.x_m / pixel.x_m), "YSCALE": repr(native.y_m / pixel.y_m)}

    def _nodata_options(self, source: Any) -> dict[str, Any]:
        """As the server tells the warper where there is no data."""
        if self._read.nodata is not None:
            value = self._read.nodata
            # A pixel has no data only if none of its bands has: pure red has bands of value 0.
            return {"nodata": value, "src_nodata": value, "UNIFIED_SRC_NODATA": "YES"}
        return {"src_nodata": None, "nodata": None, "add_alpha": ColorInterp.alpha not in source.colorinterp}


def _are_nodata(values: npt.NDArray[Any], nodata: float) -> BoolArray:
    """Bool [H, W]: where all bands of [bands, H, W] have the value."""
    missing: BoolArray = (np.isnan(values) if math.isnan(nodata) else values == nodata).all(axis=0)
    return missing


def digest(path: Path) -> str:
    """SHA-256 of a photograph; of all its files, in the order of their names, where it has several."""
    with rasterio.open(path) as source:
        files = sorted(name for name in source.files if not name.endswith(_ASIDE))
    total = hashlib.sha256()
    for name in files:
        with Path(name).open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
        if len(files) == 1:
            return part.hexdigest()
        total.update(part.digest())
    return total.hexdigest()
