"""What the files of a VRT say of their values, which gdalbuildvrt leaves out: negatives, and the number of bits."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from rasterio.errors import RasterioError

from tileserver.errors import SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.sheets import short_names
from tileserver.photo.value_range import bits_of, is_negative

_STRUCTURE: Final = "IMAGE_STRUCTURE"
_NEGATIVE: Final = "MINISWHITE"
_BITS: Final = "NBITS"
# What changes values on their way, so that they are no longer as the file says.
_CHANGES: Final = ("LUT", "ScaleOffset", "ScaleRatio", "SrcMin", "Exponent", "ColorTableComponent")


def take_over_values(root: ET.Element, path: str) -> bool:
    """Tag a VRT as its files are: with MINISWHITE, and with NBITS.

    A VRT that has such tags, or changes values, is left as it is.

    Args:
        root: the VRT, whose sources have the names that GDAL opens them by.
        path: of the VRT, for messages.

    Returns:
        Whether anything was added.

    Raises:
        SourceError: only some of the files are negatives, or they have different numbers of bits.
    """
    bands = root.findall("VRTRasterBand")
    if not bands or any(band.find(change) is not None for band in bands[0] for change in _CHANGES):
        return False
    negative: dict[bool, list[str]] = {}
    bits: dict[int | None, list[str]] = {}
    for name in dict.fromkeys(_read(root, bands[0])):
        with suppress(RasterioError, OSError), gdal_errors(), open_dataset(name) as dataset:
            negative.setdefault(is_negative(dataset), []).append(name)
            bits.setdefault(bits_of(dataset), []).append(name)
    added = False
    if negative.keys() - {False} and not _has(root, _NEGATIVE):
        if len(negative) > 1:
            raise SourceError(
                f"{path} cannot tell which of its sheets are negatives (MINISWHITE), as {short_names(negative[True])}, "
                f"and which are not, as {short_names(negative[False])}: name the sheets' folder instead of the VRT"
            )
        added = _tag(root, _NEGATIVE, "YES")
    if bits.keys() - {None} and not any(_has(band, _BITS) for band in bands):
        if len(bits) > 1:
            listed = "; ".join(f"{one or 'all'} bits: {short_names(names)}" for one, names in bits.items())
            raise SourceError(f"{path} has sheets of different kinds ({listed}): convert them to one kind")
        for band in bands:
            added = _tag(band, _BITS, str(next(iter(bits)))) or added
    return added


def _read(root: ET.Element, band: ET.Element) -> Iterator[str]:
    """Names of the files that a band is read from, or that the VRT warps."""
    for source in band:
        if source.tag != "Overview" and (name := source.findtext("SourceFilename")):
            yield name
    for element in root.iter("SourceDataset"):
        if element.text:
            yield element.text


def _has(element: ET.Element, key: str) -> bool:
    return any(
        item.get("key") == key
        for found in element.findall("Metadata")
        if found.get("domain") == _STRUCTURE
        for item in found
    )


def _tag(element: ET.Element, key: str, value: str) -> bool:
    metadata = ET.Element("Metadata", domain=_STRUCTURE)
    ET.SubElement(metadata, "MDI", key=key).text = value
    element.insert(0, metadata)
    return True
