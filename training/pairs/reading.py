"""How a photograph's file is read: which bands, which values are black and white, where there is no data, which CRS.

The options have the names and the meaning that they have in serving, so that a network sees in training what it will
see when it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, RasterioError

from training.errors import PairError
from training.pairs.hidden import Found, Hidden, look_at

UInt8Array = npt.NDArray[np.uint8]

_RED_GREEN_BLUE: Final = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Reading:
    """What the user says of one photograph; None is what the file says, or what is found in it.

    Attributes:
        bands: one (grey) or three (red, green, blue), counted from 1.
        rescale: values that become black and white, or `auto` to find them.
        nodata: the value without a picture, or `none` for no such value whatever the file says; None also looks for
            black and white borders without a tag.
        crs: in place of the file's, in any form that PROJ takes.
    """

    bands: tuple[int, ...] | None = None
    rescale: tuple[float, float] | Literal["auto"] | None = None
    nodata: float | Literal["none"] | None = None
    crs: str | None = None


NOTHING_SAID: Final = Reading()


@dataclass(frozen=True)
class Read:
    """A `Reading` of a file, resolved.

    Attributes:
        crs: of the photograph.
        bands: one or three, counted from 1.
        rescale: values that become 0 and 255; the first is the higher one in a negative.
        nodata: value without a picture, or None.
        found: whether the range was looked for in the photograph.
        hidden: borders that it does not tag; None without any.
    """

    crs: CRS
    bands: tuple[int, ...]
    rescale: tuple[float, float]
    nodata: float | None
    found: bool = False
    hidden: Hidden | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The choices that decide pixels, as JSON values; the CRS in its shortest form."""
        nodata = self.nodata if self.nodata is None else repr(self.nodata)
        return {
            "crs": self.crs.to_string(),
            "bands": list(self.bands),
            "rescale": list(self.rescale),
            "nodata": nodata,
            "borders": [] if self.hidden is None else list(self.hidden.values),
        }

    def to_bytes(self, values: npt.NDArray[Any]) -> UInt8Array:
        """Values of any dtype to bytes; not finite ones become black."""
        low, high = self.rescale
        if values.dtype == np.uint8 and (low, high) == (0, 255):
            return values
        plain = np.nan_to_num(values.astype(np.float32), posinf=high, neginf=low)
        stretched = (plain - np.float32(low)) * np.float32(255 / (high - low))
        pixels: UInt8Array = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
        return pixels


@contextmanager
def told_if_damaged(path: Path) -> Iterator[None]:
    """Name the photograph and the way out where a part of it cannot be read.

    Raises:
        PairError: GDAL could not read the pixels that the block asks for.
    """
    try:
        yield
    except RasterioError as error:
        raise PairError(
            f"a part of {path.name} cannot be read ({error}): it may be damaged; copy or fetch it again"
        ) from error


def resolve(path: Path, source: Any, reading: Reading) -> Read:
    """Check a photograph against what is said of it, and find out what is not said.

    Args:
        path: for messages.
        source: the open raster.
        reading: what is said.

    Raises:
        PairError: no CRS, no place on the ground, bands that it lacks, values that need a range, or damaged.
    """
    name = path.name
    if source.transform.is_identity:
        raise PairError(f"{name} has no geotransform: georeference it first, with QGIS for example")
    if source.colorinterp[0] == ColorInterp.palette:
        raise PairError(
            f"{name} has a colour table: expand it with gdal_translate -expand rgb {name} OUT.tif"
        )
    crs, bands = _crs(name, source, reading.crs), _bands(name, source, reading.bands)
    nodata = source.nodata if reading.nodata is None else reading.nodata
    nodata = None if nodata == "none" else nodata
    with told_if_damaged(path):
        found = look_at(source, bands, nodata, borders=reading.nodata is None)
    rescale, looked = _range(name, source, found, reading.rescale)
    return Read(crs, bands, rescale, nodata, looked, found.hidden)


def check_bytes(path: Path, source: Any) -> None:
    """Refuse a picture to compare with that is not in bytes: a range of its own would change its contrast.

    Raises:
        PairError: see `resolve`; or its values are not bytes.
    """
    resolve(path, source, NOTHING_SAID)
    if set(source.dtypes) != {"uint8"}:
        raise PairError(
            f"{path.name} is {source.dtypes[0]}: scale it to bytes with gdal_translate -ot Byte -scale {path.name} "
            "OUT.tif"
        )


def _crs(name: str, source: Any, wanted: str | None) -> CRS:
    if wanted is None:
        if source.crs is None:
            raise PairError(f"{name} has no CRS: name it with --crs EPSG:CODE (--new-crs for the new photo)")
        return source.crs
    try:
        return CRS.from_user_input(wanted)
    except CRSError as error:
        raise PairError(f"{wanted!r} is not a CRS that PROJ knows: name one such as EPSG:25832") from error


def _bands(name: str, source: Any, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The bands that were asked for, or those that are shown."""
    usable = _without_alpha(source)
    if wanted is not None:
        if missing := [band for band in wanted if band not in usable]:
            raise PairError(
                f"{name} has no colour band {missing[0]}: choose among {', '.join(map(str, usable))} with --bands "
                "(--new-bands for the new photo)"
            )
        return wanted
    if not usable:
        raise PairError(f"{name} has only an alpha band: take a file with a picture")
    return colour_bands(source)


def colour_bands(source: Any) -> tuple[int, ...]:
    """Indexes of the bands that are shown: three colours or one grey, without alpha and infrared."""
    usable = _without_alpha(source)
    tagged = [[band for band in usable if source.colorinterp[band - 1] == one] for one in _RED_GREEN_BLUE]
    if all(len(one) == 1 for one in tagged):
        return tagged[0][0], tagged[1][0], tagged[2][0]
    return usable[:3] if len(usable) >= 3 else usable[:1]


def _without_alpha(source: Any) -> tuple[int, ...]:
    return tuple(i + 1 for i, colour in enumerate(source.colorinterp) if colour != ColorInterp.alpha)


def _range(
    name: str, source: Any, found: Found, wanted: tuple[float, float] | Literal["auto"] | None
) -> tuple[tuple[float, float], bool]:
    """Black and white, the first the higher one in a negative, and whether they were looked for."""
    looked = wanted == "auto" or (wanted is None and found.declared is None)
    low_high = found.range() if looked else found.declared if wanted is None else wanted
    if low_high is None or low_high == "auto":
        raise PairError(
            f"{name} shows nothing of which a range could be found: name it with --rescale MIN,MAX"
        )
    if looked and found.is_constant:
        raise PairError(f"{name} has one value only: name black and white with --rescale MIN,MAX")
    low, high = low_high
    limits = np.iinfo(source.dtypes[0]) if looked and np.dtype(source.dtypes[0]).kind in "ui" else None
    whole = limits is not None and (low, high) == (limits.min, limits.max)
    return ((high, low) if found.is_negative else (low, high)), looked and not whole
