"""What a file says of its colours: which bands are red, green and blue, and what GDAL cannot convert to them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from sr_model.measure.border_search import changes_values
from tileserver.errors import SourceError
from tileserver.photo.colour_bands import colour_bands
from tileserver.photo.virtual import colour_table

_RED_GREEN_BLUE: Final = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
# Values of the TIFF tag PhotometricInterpretation (TIFF 6.0, section 8 and its supplements) that GDAL returns as they
# are: CMYK and CIE L*a*b* with more than 8 bits, ICC L*a*b*, ITU L*a*b*, LogL and LogLuv.
_PHOTOMETRIC: Final = 262
_MOST_ENTRIES: Final = 4096
_UNCONVERTED: Final = {
    5: "CMYK",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32844: "LogL",
    32845: "LogLuv",
}
_UNCONVERTED_BANDS: Final = {
    ColorInterp.cyan: "CMYK",
    ColorInterp.lightness: "HLS",
    ColorInterp.hue: "HLS",
    ColorInterp.Y: "YCbCr",
}


def choose_bands(path: str, dataset: DatasetReader, bands: tuple[int, ...] | None) -> tuple[int, ...]:
    """The one (grey) or three (red, green, blue) bands to show, counted from 1.

    Args:
        path: what the user calls the file, for messages; of a path, tags that GDAL does not report are read there.
        dataset: the file, open.
        bands: those that the user named; None for those tagged as red, green and blue, else the first three, or the
            first if there are fewer.

    Raises:
        SourceError: there are no such bands, or their colours cannot be converted.
    """
    usable: tuple[int, ...] = tuple(colour_bands(dataset))
    if bands is not None:
        _check_chosen(path, dataset, bands, usable)
        return bands
    if not usable:
        raise SourceError(f"{path} has only an alpha band: give a file with at least one image band")
    refuse_unconverted(path, dataset)
    tagged = [[band for band in usable if dataset.colorinterp[band - 1] == one] for one in _RED_GREEN_BLUE]
    if all(len(one) == 1 for one in tagged):
        return tagged[0][0], tagged[1][0], tagged[2][0]
    return usable[:3] if len(usable) >= 3 else usable[:1]


def _check_chosen(path: str, dataset: DatasetReader, bands: tuple[int, ...], usable: tuple[int, ...]) -> None:
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


def palette_bands(path: str, dataset: DatasetReader, bands: tuple[int, ...]) -> int:
    """How many bands a colour table is expanded to: one if all its colours are grey, else three; 0 without one.

    Raises:
        SourceError: several bands are to be shown of a file with a colour table.
    """
    if dataset.colorinterp[bands[0] - 1] != ColorInterp.palette:
        return 0
    check_bands_of_table(path, bands)
    return 1 if all(red == green == blue for red, green, blue, _ in colour_table(dataset).values()) else 3


def check_bands_of_table(path: str, bands: tuple[int, ...] | None) -> None:
    """Check that no bands are chosen of a file with a colour table, but the only one that there is.

    Raises:
        SourceError: others are.
    """
    if bands not in (None, (1,)):
        raise SourceError(f"{path} has a colour table, which says its colours: leave out --bands")


def refuse_unconverted(path: str, dataset: DatasetReader) -> None:
    """Refuse colours other than grey or red, green and blue.

    GDAL converts CMYK and CIE L*a*b* of 8 bits, and says that the bands are red, green and blue then.

    Raises:
        SourceError: the bands have other colours.
    """
    if set(_RED_GREEN_BLUE) <= set(dataset.colorinterp):
        return
    names = [_UNCONVERTED_BANDS[one] for one in dataset.colorinterp if one in _UNCONVERTED_BANDS]
    name = names[0] if names else _UNCONVERTED.get(_photometric(path) or -1)
    if name:
        raise SourceError(
            f"{path} has {name} colours, which cannot be shown as they are: export it as RGB from the program that "
            "made it, or choose one band with --bands to show it in grey"
        )


def is_lossy(dataset: DatasetReader) -> bool:
    """Whether a file says that its compression changes values."""
    tags = dataset.tags(ns="IMAGE_STRUCTURE")
    compression, reversibility = (
        str(tags.get(name, "")) for name in ("COMPRESSION", "COMPRESSION_REVERSIBILITY")
    )
    return changes_values(compression, reversibility, dataset.driver)


def _photometric(path: str) -> int | None:
    """The tag PhotometricInterpretation of a TIFF in a local file, which GDAL does not report; else None."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
            order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
            # TIFF and BigTIFF: where the first directory starts, its count, an entry, and an entry up to its value.
            layouts = {42: (head[4:8], "I", "H", 12, 8), 43: (head[8:16], "Q", "Q", 20, 12)}
            magic = struct.unpack(f"{order}H", head[2:4])[0]
            if not order or magic not in layouts:
                return None
            start, start_format, count_format, entry_bytes, value_at = layouts[magic]
            file.seek(struct.unpack(f"{order}{start_format}", start)[0])
            count_bytes = struct.calcsize(f"{order}{count_format}")
            count = struct.unpack(f"{order}{count_format}", file.read(count_bytes))[0]
            for _ in range(min(count, _MOST_ENTRIES)):
                entry = file.read(entry_bytes)
                if struct.unpack(f"{order}H", entry[:2])[0] == _PHOTOMETRIC:
                    return int(struct.unpack(f"{order}H", entry[value_at : value_at + 2])[0])
    except (OSError, struct.error):
        return None
    return None
