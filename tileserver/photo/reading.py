"""What a user says of a photograph's values, and what is decided of them: see `tileserver.photo.preparation`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tileserver.photo.notice import Notice
from tileserver.photo.virtual import VirtualPhoto

Range = tuple[float, float]
Nodata = tuple[float, ...] | Literal["auto", "none"]


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says of a photograph's values; the defaults leave everything to the file.

    Attributes:
        bands: bands to show, counted from 1.
        rescale: values that become black and white; `auto` finds them; None does so where the file does not tell.
        nodata: `auto` finds borders; `none` takes no value for nodata; one value is nodata; of two, the first is, where
            it is connected to the edge, within a tolerance that the second gives.
        footprint: GeoJSON file with the ground that is shown.
        exclude: GeoJSON file with ground that is hidden.
    """

    bands: tuple[int, ...] | None = None
    rescale: Range | Literal["auto"] | None = None
    nodata: Nodata = "auto"
    footprint: Path | None = None
    exclude: Path | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files with polygons."""
        return tuple(str(file) for file in (self.footprint, self.exclude) if file)


AS_THE_VALUES_SAY: Final = ReadingOptions()


@dataclass(frozen=True)
class Preparation:
    """How a photograph is read.

    Attributes:
        path: name that GDAL opens it by: the file's, or that of a virtual photograph.
        virtual: that virtual photograph, which exists until it is closed; None if the file is read as it is.
        bands: bands of the file that are shown.
        read_bands: bands to read, which are others in a virtual photograph.
        dtype: data type of what is read.
        rescale: values that become black and white; the first is the higher one in a negative.
        overviews: factors of the overviews that are used, ascending.
        nodata: the value that hides pixels, if there is one.
        key: what of this changes pixels, beside the file, the bands and the range.
        notes: what was found and decided, in sentences.
        warnings: defects, each with its remedy.
    """

    path: str
    virtual: VirtualPhoto | None
    bands: tuple[int, ...]
    read_bands: tuple[int, ...]
    dtype: str
    rescale: Range
    overviews: tuple[int, ...]
    nodata: float | None
    key: str
    notes: tuple[str, ...]
    warnings: tuple[Notice, ...]


@dataclass(frozen=True)
class SheetPreparation:
    """How a sheet of a mosaic is read.

    Attributes:
        path: name that GDAL opens it by: the file's, or that of a virtual photograph with all its bands but alpha, its
            colour table expanded, and one mask.
        virtual: that virtual photograph, which exists until it is closed; None if the file is read as it is.
        palette: how many bands a colour table was expanded to; 0 without one.
        overviews: factors of the overviews that are used, ascending.
        key, notes, warnings: as those of `Preparation`.
    """

    path: str
    virtual: VirtualPhoto | None
    palette: int
    overviews: tuple[int, ...]
    key: str
    notes: tuple[str, ...]
    warnings: tuple[Notice, ...]
