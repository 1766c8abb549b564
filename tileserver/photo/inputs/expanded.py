"""Colour tables are expanded before a raster is warped: between two numbers of colours lie the numbers of others."""

from __future__ import annotations

import copy
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.inputs.virtual import PREFIX, virtual_file
from tileserver.photo.virtual import colour_table

_COLOURS: Final = ("Red", "Green", "Blue")


@contextmanager
def expanded(path: str, dataset: DatasetReader) -> Iterator[DatasetReader]:
    """Lend the raster itself, or one with red, green and blue in place of its colour table, and with its place.

    Args:
        path: its path or URL.
        dataset: the raster, open.
    """
    if dataset.colorinterp[0] != ColorInterp.palette:
        yield dataset
        return
    with open_dataset(virtual_file("colours.vrt", _text(path, dataset))) as colours:
        yield colours


def as_vrt(dataset: DatasetReader) -> str:
    """Return a raster, which may be warped, as the text of a VRT with absolute paths."""
    made = f"{PREFIX}warping/{uuid.uuid4().hex}.vrt"
    rasterio.shutil.copy(dataset, made, driver="VRT")
    try:
        with open_dataset(made) as opened:
            (text,) = opened.tags(ns="xml:VRT").values()
    finally:
        rasterio.shutil.delete(made, driver="VRT")
    return str(text)


def _text(path: str, dataset: DatasetReader) -> str:
    # GDAL's own text has the control points or the RPC model.
    root = ET.fromstring(as_vrt(dataset))  # noqa: S314 - made here
    for element in (*root.findall("VRTRasterBand"), *root.findall("MaskBand"), *root.findall("OverviewList")):
        root.remove(element)
    local = Path(path).exists()
    source = ET.Element("ComplexSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = (
        str(Path(path).resolve()) if local else dataset.files[0] if dataset.files else path
    )
    ET.SubElement(source, "SourceBand").text = "1"
    for number, colour in enumerate(_COLOURS, 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        ET.SubElement(band, "ColorInterp").text = colour
        component = copy.deepcopy(source)
        ET.SubElement(component, "ColorTableComponent").text = str(number)
        band.append(component)
    opaque = {
        index: 255 if entry[3] > 0 and index != dataset.nodata else 0
        for index, entry in colour_table(dataset).items()
    }
    if not all(opaque.values()):
        mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        ET.SubElement(source, "LUT").text = ",".join(f"{index}:{value}" for index, value in opaque.items())
        mask.append(source)
    return ET.tostring(root, encoding="unicode")
