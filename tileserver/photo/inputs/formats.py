"""Names of raster files, and hints for formats that GDAL's usual builds cannot read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Final

from tileserver.names import NO_SUCH_FILE, is_absent
from tileserver.names import RASTERS as RASTERS
from tileserver.photo.damage import describe_damage, is_vague

_CONVERT: Final = (
    "convert it on a machine whose GDAL has that driver, such as QGIS for Windows (OSGeo4W, package {package}), with: "
    "gdal_translate -of COG -co COMPRESS=JPEG -co QUALITY=90 IN{suffix} OUT.tif"
)
_MRSID: Final = b"msid"
_HINTS: Final = {
    ".ecw": "ECW needs a driver built with Hexagon's ERDAS ECW/JP2 SDK, which this GDAL lacks: "
    + _CONVERT.format(package="gdal-ecw", suffix=".ecw"),
    ".fgb": "FlatGeobuf needs a driver that this GDAL lacks: write the index with ogr2ogr INDEX.gpkg INDEX.fgb",
    ".sid": "MrSID needs a driver built with Extensis' MrSID SDK, which this GDAL lacks: "
    + _CONVERT.format(package="gdal-mrsid", suffix=".sid"),
}


def rasters_in(folder: Path) -> list[str]:
    """Return the paths of the raster files in a folder, by name; hidden files are left out.

    Folders inside it are looked through only if there are none directly in it: they often hold other versions.
    """
    return _some_of(folder.iterdir()) or _some_of(folder.rglob("*"))


def _some_of(paths: Iterable[Path]) -> list[str]:
    return [
        str(path)
        for path in sorted(paths)
        if path.suffix.lower() in RASTERS and not path.name.startswith(".") and path.is_file()
    ]


def reason(path: str, error: Exception) -> str:
    """Say why GDAL cannot open a file, and what helps if the format tells."""
    if is_absent(path):
        return NO_SUCH_FILE
    hint = _HINTS.get(_suffix(path))
    return hint or f"{_words(path, error).rstrip('.')}. Check it with gdalinfo"


def _suffix(path: str) -> str:
    """Suffix of the format: by the first bytes where they tell, else by the name. ECW has no bytes of its own."""
    with suppress(OSError, ValueError), Path(path).open("rb") as file:
        if file.read(len(_MRSID)) == _MRSID:
            return ".sid"
    return PurePath(path).suffix.lower()


def _words(path: str, error: Exception) -> str:
    if not is_vague(str(error)):
        return str(error)
    # The sheet itself is named already.
    return describe_damage(error).removeprefix(f"{PurePath(path).name}, ")
