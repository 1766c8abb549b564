"""Assemble restored metatiles into chips with world files."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

import pyproj
from affine import dumpsw

from sr_model import PixelWindow
from sr_model.atomic import is_temporary, write_atomic
from tileserver.errors import OutputError
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.tiling.encode import Extension, encode
from tileserver.tiling.raster import Raster, canvas, paste

# Suffix of the world file that GDAL's driver looks for; all drivers read .wld as well.
WORLD_FILES: Final[dict[Extension, str]] = {"png": ".pgw", "jpg": ".jgw"}
# Written last: it marks the set as complete.
_MANIFEST: Final = "chips.json"
_CHIP: Final = re.compile(r".+_\d{5,}_\d{5,}\.(wld|pgw|jgw|prj|(png|jpg)(\.aux\.xml)?)")


def write_chips(
    target: Target,
    metatiles: MetatileFolder,
    folder: Path,
    name: str,
    size_px: int,
    extension: Extension,
    tags: dict[str, str],
    mark: bytes = b"",
) -> int:
    """Write square images with world files, .prj and GDAL's .aux.xml; chips without data are left out.

    Args:
        target: the restored area.
        metatiles: its metatiles.
        folder: folder for the images; existing chips are deleted.
        name: prefix of the file names.
        size_px: side of a chip; the last chips of rows and columns are padded with nodata.
        extension: image format.
        tags: metadata of each chip, and of all chips in a manifest.
        mark: XMP of each chip; empty for none.

    Returns:
        Size of all files in bytes.

    Raises:
        OutputError: the folder cannot be written.
    """
    count = nbytes = 0
    whole = target.window
    try:
        folder.mkdir(exist_ok=True)
        _clear(folder)
        for chip in whole.split(size_px, origin=(whole.x, whole.y)):
            raster = canvas(PixelWindow(chip.x, chip.y, size_px, size_px))
            paste(raster, metatiles.read(chip))
            if raster.is_empty:
                continue
            row, column = (chip.y - whole.y) // size_px, (chip.x - whole.x) // size_px
            stem = folder / f"{name}_{row:05}_{column:05}"
            nbytes += _write_chip(stem, raster, target, extension, tags, mark)
            count += 1
        write_atomic(folder / _MANIFEST, json.dumps({**tags, "CHIPS": count}, indent=2).encode())
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}): make room, then run the same command again"
        ) from error
    return nbytes


def chips_note(folder: Path) -> dict[str, Any] | None:
    """Return the settings that the chips in a folder were made with; None if there is no complete set."""
    try:
        note = json.loads(json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["ORTHOSHARP"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if isinstance(note, dict) else None


def has_foreign_files(folder: Path) -> bool:
    """Return whether a folder contains anything but chips and their manifest."""
    return any(path.name != _MANIFEST and not _is_chip(path) for path in folder.iterdir())


def _is_chip(path: Path) -> bool:
    """Return whether a file belongs to a chip, or is a temporary file that a kill left behind."""
    return _CHIP.fullmatch(path.name) is not None or is_temporary(path.name)


def _clear(folder: Path) -> None:
    (folder / _MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _is_chip(path):
            path.unlink()


def _write_chip(
    stem: Path, raster: Raster, target: Target, extension: Extension, tags: dict[str, str], mark: bytes
) -> int:
    crs = pyproj.CRS.from_wkt(target.crs.to_wkt())
    # Not by GDAL (WORLDFILE=YES), which would encode the image itself and rounds to ten decimals, even degrees.
    world = dumpsw(target.transform(raster.window)).encode()
    aux = ET.Element("PAMDataset")
    ET.SubElement(aux, "SRS", dataAxisToSRSAxisMapping="1,2").text = crs.to_wkt("WKT1_GDAL")
    metadata = ET.SubElement(aux, "Metadata")
    for key, value in tags.items():
        ET.SubElement(metadata, "MDI", key=key).text = value
    files = {
        ".wld": world,
        WORLD_FILES[extension]: world,
        ".prj": crs.to_wkt("WKT1_ESRI").encode(),
        # GDAL and QGIS read the CRS of an image from here, other programs from the .prj.
        f".{extension}.aux.xml": ET.tostring(aux),
        # The image last: if it exists, so do the other files.
        f".{extension}": encode(raster, extension, packet=mark),
    }
    for suffix, data in files.items():
        write_atomic(stem.with_name(stem.name + suffix), data)
    return sum(map(len, files.values()))
