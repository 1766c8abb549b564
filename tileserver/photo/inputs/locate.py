"""Which files a user means: one photograph, the sheets in a folder, those of a pattern, or those of an index."""

from __future__ import annotations

import glob
import json
import sqlite3
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tileserver.errors import SourceError
from tileserver.photo.inputs.formats import rasters_in
from tileserver.photo.inputs.naming import is_remote

_LOCATION: Final = "location"
_PATTERN: Final = "*?["


def sheets_of(source: str) -> list[str] | None:
    """Return the paths of the sheets that a folder, pattern or index stands for; None for a single photograph.

    Raises:
        SourceError: it stands for no sheet, or the index cannot be read.
    """
    source = source.removeprefix("GTI:")
    if is_remote(source):
        return None
    path = Path(source)
    if path.is_dir():
        found = rasters_in(path)
        if not found and path.suffix:
            return None  # a format that is a folder, such as town.zarr
        return _some(found, f"{source} contains no photographs: name a folder of GeoTIFFs")
    if not path.exists():
        if any(sign in source for sign in _PATTERN):
            matching = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute patterns too
            return _some(matching, f"{source} matches no file")
        return None
    reader = _INDEXES.get(path.suffix.lower())
    if reader is None:
        return None
    try:
        locations = reader(path)
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error, ET.ParseError, struct.error) as error:
        raise SourceError(
            f"{source} cannot be read as an index of sheets ({error}): make one with gdaltindex INDEX.gpkg SHEETS"
        ) from error
    if locations is None:
        return None
    found = [_beside(path, location) for location in locations]
    return _some(found, f"{source} is an index without sheets: make one with gdaltindex INDEX.gpkg SHEETS")


def _some(found: list[str], otherwise: str) -> list[str]:
    if not found:
        raise SourceError(otherwise)
    return found


def _beside(index: Path, location: str) -> str:
    """A relative location is relative to the index or, as GDAL has it, to the working folder."""
    if is_remote(location) or Path(location).is_absolute():
        return location
    beside = index.parent / location
    return str(beside if beside.exists() or not Path(location).exists() else Path(location))


def _of_geopackage(path: Path) -> list[str] | None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        tables = [
            name
            for (name,) in database.execute(
                "SELECT table_name FROM gpkg_contents WHERE data_type = 'features'"
            )
            if _LOCATION in [row[1].lower() for row in database.execute(f'PRAGMA table_info("{name}")')]
        ]
        kinds = {kind for (kind,) in database.execute("SELECT data_type FROM gpkg_contents")}
        if not tables and kinds == {"features"}:
            raise ValueError("none of its layers has a column named location")
        if not tables:
            return None  # a GeoPackage of tiles is a raster
        rows = database.execute(f'SELECT {_LOCATION} FROM "{tables[0]}" ORDER BY rowid')  # noqa: S608 - a table's name
        return [str(row[0]) for row in rows if row[0]]


def _of_shapefile(path: Path) -> list[str]:
    """Read the column `location` of the dBase table beside a shapefile."""
    data = path.with_suffix(".dbf").read_bytes()
    count, header, length = struct.unpack("<IHH", data[4:12])
    offset = 1
    for start in range(32, header - 1, 32):
        name, width = data[start : start + 11].split(b"\0")[0].decode("ascii"), data[start + 16]
        if name.lower() == _LOCATION:
            records = (data[header + n * length : header + (n + 1) * length] for n in range(count))
            values = [row[offset : offset + width] for row in records if row[:1] != b"*"]
            return [_text(value) for value in values if value.strip(b" \0")]
        offset += width
    raise ValueError("it has no column named location")


def _text(value: bytes) -> str:
    raw = value.strip(b" \0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _of_geojson(path: Path) -> list[str] | None:
    document: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        return None
    properties: Iterable[dict[str, Any]] = [
        feature.get("properties") or {} for feature in document["features"]
    ]
    if not any(_LOCATION in one for one in properties):
        raise ValueError("its features have no property named location")
    return [str(one[_LOCATION]) for one in properties if one.get(_LOCATION)]


def _of_gti(path: Path) -> list[str]:
    """Read GDAL's XML description of a tile index, which names the index itself."""
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - a local file that the user names
    named = root.findtext("IndexDataset")
    if not named:
        raise ValueError("it has no IndexDataset")
    if Path(named).suffix.lower() == path.suffix.lower():
        raise ValueError(f"its IndexDataset {named} is such a description itself")
    return sheets_of(_beside(path, named)) or []


def _of_list(path: Path) -> list[str]:
    """Read a text file with one path per line, as `gdalbuildvrt -input_file_list` takes it."""
    lines = (line.strip().strip('"') for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


_INDEXES: Final[dict[str, Callable[[Path], list[str] | None]]] = {
    ".gpkg": _of_geopackage,
    ".shp": _of_shapefile,
    ".geojson": _of_geojson,
    ".json": _of_geojson,
    ".gti": _of_gti,
    ".txt": _of_list,
}
