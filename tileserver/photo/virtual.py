"""A photograph as it is to be read: a VRT in memory over the file, with its colours expanded and all its masks in one.

GDAL knows one kind of mask per file: a nodata value hides an alpha band, and a colour table cannot be interpolated.
Where a file needs more than GDAL does with it by itself, `VirtualPhoto` describes it as a VRT, one per overview. The
pixels stay in the file.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from xml.sax.saxutils import escape

from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader, MemoryFile

from tileserver.photo.dataset_pool import open_dataset

# Names of GDAL's data types by those of numpy.
GDAL_TYPES: Final = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}
_COLOURS: Final = {
    ColorInterp.gray: "Gray",
    ColorInterp.red: "Red",
    ColorInterp.green: "Green",
    ColorInterp.blue: "Blue",
}


@dataclass(frozen=True)
class Layout:
    """What a virtual photograph consists of.

    Attributes:
        bands: bands of the file that are shown, counted from 1; with a colour table, the one that has it.
        dtype: data type of the pixels that are read.
        palette: how many bands the colour table is expanded to, one or three; 0 where there is none.
        nodata: value that hides a pixel if all its bands have it.
        alpha: number of the alpha band that hides pixels.
        mask: whether the file has a mask.
        levels: overviews that are used, by their numbers in the file.
        kept: bands of a mosaic's sheet, which has all of them in the file's order and one mask; None for those shown.
    """

    bands: tuple[int, ...]
    dtype: str
    palette: int
    nodata: float | None
    alpha: int | None
    mask: bool
    levels: tuple[int, ...]
    kept: tuple[int, ...] | None = None

    @property
    def made_bands(self) -> tuple[int, ...]:
        """All bands of the virtual photograph."""
        return tuple(range(1, (self.palette or len(self.kept or self.bands)) + 1))

    @property
    def read_bands(self) -> tuple[int, ...]:
        """Bands of the virtual photograph that are shown: one (grey) or three."""
        if self.kept is None or self.palette:
            return self.made_bands
        return tuple(self.kept.index(band) + 1 for band in self.bands)

    @property
    def hides_by_value_alone(self) -> bool:
        """Whether GDAL's own nodata value is all that it needs to hide pixels."""
        by_value_alone = self.alpha is None and not self.mask and not self.palette and self.kept is None
        return self.nodata is not None and by_value_alone


class Closable(Protocol):
    """What a photograph is read through, and gives up when it is closed."""

    def close(self) -> None:
        """Give it up."""


class VirtualPhoto:
    """A VRT in memory; it exists until it is closed, or nothing refers to it any more.

    Args:
        path: path or URL of the file.
        dataset: the file, open.
        layout: what the VRT consists of.
        hidden: rasters whose pixels of value 1 hide those of the photograph: of full resolution, then of each level.

    Attributes:
        path: name that GDAL opens it by.
    """

    def __init__(
        self, path: str, dataset: DatasetReader, layout: Layout, hidden: Sequence[MemoryFile] = ()
    ) -> None:
        self._layout = layout
        self._hidden = tuple(hidden)
        self._files: list[MemoryFile] = []
        # rasterio leaves a file in memory when its MemoryFile goes, as one would that could not be opened in the end.
        self._finalizer = weakref.finalize(self, _close_all, self._files, self._hidden)
        self._finalizer.atexit = False
        source = absolute_name(path, dataset)
        finer = []
        for number, level in enumerate(layout.levels):
            with open_dataset(path, overview_level=level) as overview:
                finer.append(self._write(source, overview, number + 1, {"OVERVIEW_LEVEL": level}))
        self.path = self._write(source, dataset, 0, {}, finer)

    def close(self) -> None:
        """Delete the VRT and the rasters that hide its pixels."""
        self._finalizer()

    def _write(
        self,
        source: str,
        dataset: DatasetReader,
        number: int,
        options: dict[str, Any],
        overviews: Sequence[str] = (),
    ) -> str:
        size = f'rasterXSize="{dataset.width}" rasterYSize="{dataset.height}"'
        head = f"<SRS>{escape(dataset.crs.to_wkt())}</SRS>" if dataset.crs else ""
        head += _geotransform(dataset.transform)
        part = _SourceFile(source, dataset, options)
        mask = self._mask(part, number)
        bands = "".join(
            self._band(part, index, masked=bool(mask), overviews=overviews)
            for index in self._layout.made_bands
        )
        return self._store(f"<VRTDataset {size}>{head}{bands}{mask}</VRTDataset>")

    def _store(self, text: str) -> str:
        self._files.append(MemoryFile(text.encode(), ext=".vrt"))
        return str(self._files[-1].name)

    def _band(self, part: _SourceFile, index: int, *, masked: bool, overviews: Sequence[str]) -> str:
        layout = self._layout
        if layout.palette:
            table = f"<ColorTableComponent>{index}</ColorTableComponent>"
            content = part.source(layout.bands[0], table)
        else:
            content = part.source((layout.kept or layout.bands)[index - 1])
        colour = self._colour(part.dataset, index)
        hides = layout.hides_by_value_alone and not masked
        nodata = f"<NoDataValue>{layout.nodata!r}</NoDataValue>" if hides else ""
        coarser = "".join(
            f'<Overview><SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
            f"<SourceBand>{index}</SourceBand></Overview>"
            for name in overviews
        )
        return (
            f'<VRTRasterBand dataType="{GDAL_TYPES[layout.dtype]}" band="{index}">'
            f"<ColorInterp>{colour}</ColorInterp>{nodata}{content}{coarser}</VRTRasterBand>"
        )

    def _colour(self, dataset: DatasetReader, index: int) -> str:
        layout = self._layout
        if layout.kept is None or layout.palette:
            return "Gray" if len(layout.read_bands) == 1 else ("Red", "Green", "Blue")[index - 1]
        return _COLOURS.get(dataset.colorinterp[layout.kept[index - 1] - 1], "Undefined")

    def _mask(self, part: _SourceFile, number: int) -> str:
        """The product of everything that hides pixels, each 0 or 1; empty where there is nothing, or a value alone."""
        layout = self._layout
        terms = []
        if layout.alpha is not None:
            terms.append(part.source(layout.alpha, "<LUT>0:0,1:1,65535:1</LUT>"))
        if layout.mask:
            terms.append(part.source("mask,1", "<LUT>0:0,1:1,255:1</LUT>"))
        if layout.palette:
            opaque = [f"{index}:{int(entry[3] > 0)}" for index, entry in colour_table(part.dataset).items()]
            terms.append(part.source(layout.bands[0], f"<LUT>{','.join(opaque)}</LUT>"))
        if self._hidden:
            raster = self._hidden[number].name
            extra = "<ScaleOffset>1</ScaleOffset><ScaleRatio>-1</ScaleRatio>"
            terms.append(_SourceFile(raster, part.dataset, {}).source(1, extra))
        if layout.nodata is not None and (terms or not layout.hides_by_value_alone):
            terms.append(self._other_than_nodata(part, layout.nodata))
        if not terms:
            return ""
        if len(terms) == 1:
            terms *= 2  # GDAL multiplies no fewer than two
        return (
            '<MaskBand><VRTRasterBand dataType="Byte" subClass="VRTDerivedRasterBand">'
            '<PixelFunctionType>mul</PixelFunctionType><PixelFunctionArguments k="255"/>'
            f"<SourceTransferType>Float32</SourceTransferType>{''.join(terms)}</VRTRasterBand></MaskBand>"
        )

    def _other_than_nodata(self, part: _SourceFile, nodata: float) -> str:
        """1 where any band has another value: each band is painted as 1 over those before, except for that value."""
        value = "nan" if math.isnan(nodata) else repr(nodata)
        paint = f"<ScaleOffset>1</ScaleOffset><ScaleRatio>0</ScaleRatio><NODATA>{value}</NODATA>"
        sources = "".join(part.source(band, paint) for band in self._layout.bands)
        size = f'rasterXSize="{part.dataset.width}" rasterYSize="{part.dataset.height}"'
        name = self._store(
            f'<VRTDataset {size}><VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand></VRTDataset>'
        )
        return _SourceFile(name, part.dataset, {}).source(1)


@dataclass(frozen=True)
class _SourceFile:
    """A file that a VRT reads, of the size of `dataset`."""

    name: str
    dataset: DatasetReader
    options: dict[str, Any]

    def source(self, band: int | str, extra: str = "") -> str:
        """The XML of a band as a source; `extra` says what is done to its values."""
        width, height = self.dataset.width, self.dataset.height
        options = "".join(f'<OOI key="{key}">{value}</OOI>' for key, value in self.options.items())
        rectangle = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
        kind = "ComplexSource" if extra else "SimpleSource"
        return (
            f'<{kind}><SourceFilename relativeToVRT="0">{escape(self.name)}</SourceFilename>'
            f"{f'<OpenOptions>{options}</OpenOptions>' if options else ''}<SourceBand>{band}</SourceBand>"
            f"<SrcRect {rectangle}/><DstRect {rectangle}/>{extra}</{kind}>"
        )


def _close_all(files: Sequence[MemoryFile], hidden: Sequence[MemoryFile]) -> None:
    for file in (*files, *hidden):
        file.close()


def absolute_name(path: str, dataset: DatasetReader) -> str:
    """The name by which GDAL finds an open file from anywhere: an absolute path, or a virtual path of a URL."""
    if path.startswith("/vsi"):
        return path
    if Path(path).exists():
        return str(Path(path).resolve())
    # GDAL's own name of a URL, such as /vsicurl/https://...; it lists no files of what it has no name for.
    return str(dataset.files[0]) if dataset.files else path


def alpha_band(dataset: DatasetReader) -> int | None:
    """Number of the band that is tagged as alpha, or None."""
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    return int(dataset.colorinterp.index(ColorInterp.alpha)) + 1


def colour_table(dataset: DatasetReader) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and alpha of each value of the first band; empty without a colour table."""
    try:
        found: dict[int, tuple[int, int, int, int]] = dataset.colormap(1)
    except ValueError:
        return {}
    return found


def _geotransform(matrix: Affine) -> str:
    if matrix.is_identity:
        return ""
    return f"<GeoTransform>{', '.join(repr(float(value)) for value in matrix.to_gdal())}</GeoTransform>"
