"""Put restored blocks together into many images with world files."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

import pyproj
from affine import dumpsw

from sr_model import PixelWindow
from sr_model.atomic import write_atomic
from tileserver.errors import OutputError
from tileserver.jobs.disk import is_temporary
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.tiling.encode import Extension, encode
from tileserver.tiling.raster import Raster, canvas, paste

# Suffix of the world file that each driver looks for; all of them take .wld too.
WORLD_FILES: Final[dict[Extension, str]] = {"png": ".pgw", "jpg": ".jgw"}
# Written last, since it says that all of them are there.
_MANIFEST: Final = "chips.json"
_CHIP: Final = re.compile(r".+_\d{5,}_\d{5,}\.(wld|pgw|jgw|prj|(png|jpg)(\.aux\.xml)?)")


def write_chips(
    target: Target,
    blocks: MetatileFolder,
    folder: Path,
    name: str,
    size_px: int,
    extension: Extension,
    tags: dict[str, str],
) -> int:
    """Write square images with world files, .prj and GDAL's .aux.xml; chips that show nothing are left out.

    Args:
        target: what was restored.
        blocks: its metatiles.
        folder: where the images go; other chips there are removed.
        name: how they begin.
        size_px: their side; the last ones of a row are filled up with nothing.
        extension: their format.
        tags: metadata of each, and of all together in a manifest.

    Returns:
        Their size in bytes.

    Raises:
        OutputError: the disk does not take them.
    """
    count = nbytes = 0
    whole = target.window
    try:
        folder.mkdir(exist_ok=True)
        _clear(folder)
        for chip in whole.split(size_px, origin=(whole.x, whole.y)):
            raster = canvas(PixelWindow(chip.x, chip.y, size_px, size_px))
            paste(raster, blocks.read(chip))
            if raster.is_empty:
                continue
            row, column = (chip.y - whole.y) // size_px, (chip.x - whole.x) // size_px
            stem = folder / f"{name}_{row:05}_{column:05}"
            nbytes += _write_chip(stem, raster, target, extension, tags)
            count += 1
        write_atomic(folder / _MANIFEST, json.dumps({**tags, "CHIPS": count}, indent=2).encode())
    except OSError as error:
        raise OutputError(
            f"{folder} does not take images ({error.strerror}): make room, then run the same command again"
        ) from error
    return nbytes


def chips_note(folder: Path) -> dict[str, Any] | None:
    """Settings of the chips in a folder; None where there is no whole set of them."""
    try:
        note = json.loads(json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["ORTHOSHARP"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if isinstance(note, dict) else None


def has_foreign_files(folder: Path) -> bool:
    """Whether a folder has anything in it but chips and their manifest."""
    return any(path.name != _MANIFEST and not _is_chip(path) for path in folder.iterdir())


def _is_chip(path: Path) -> bool:
    """Whether a file belongs to a chip, or is what a kill left of one."""
    return _CHIP.fullmatch(path.name) is not None or is_temporary(path.name)


def _clear(folder: Path) -> None:
    (folder / _MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _is_chip(path):
            path.unlink()


def _write_chip(
    stem: Path, raster: Raster, target: Target, extension: Extension, tags: dict[str, str]
) -> int:
    crs = pyproj.CRS.from_wkt(target.crs.to_wkt())
    # Not GDAL's own (WORLDFILE=YES): it would encode the picture, and it rounds to ten decimals, in degrees too.
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
        # GDAL and QGIS take the CRS of an image from here, not from the .prj that others read.
        f".{extension}.aux.xml": ET.tostring(aux),
        # The picture last: where it is, everything is.
        f".{extension}": encode(raster, extension),
    }
    for suffix, data in files.items():
        write_atomic(stem.with_name(stem.name + suffix), data)
    return sum(map(len, files.values()))
