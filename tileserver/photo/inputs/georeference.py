"""Where a single raster lies: by its own tags, a world file, a .prj file, ground control points, or an RPC model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from tileserver.errors import SourceError
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.expanded import as_vrt, expanded
from tileserver.photo.inputs.naming import file_name, is_remote
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.virtual import virtual_file

# Largest error of GDAL's approximate transformer, in pixels: as exact as the place of a ground control point.
_TOLERANCE_PX: Final = 0.01
_WGS84: Final = "EPSG:4326"


@dataclass(frozen=True)
class Georeferenced:
    """A raster whose place is known.

    Attributes:
        path: what GDAL opens: the file itself, or a virtual one that warps it.
        crs: its CRS.
        how: how its place was found, if not from its own tags and transform; part of its fingerprint.
        is_expanded: whether `path` has red, green and blue in place of the file's colour table.
    """

    path: str
    crs: CRS
    how: str = ""
    is_expanded: bool = False


def georeference(path: str, dataset: DatasetReader, placing: Placing) -> Georeferenced:
    """Find out where a raster lies.

    Args:
        path: its path or URL.
        dataset: the raster, open.
        placing: what the user says about its place.

    Raises:
        SourceError: the file does not tell; the message asks for what is missing.
        SettingsError: the CRS in `placing` is not one.
    """
    given, beside, faulty = placing.given_crs(), None, ""
    if given is None and dataset.crs is None and not dataset.gcps[1]:
        beside, faulty = _prj_beside(path)
    crs = given or beside
    if not dataset.transform.is_identity:
        crs = crs or dataset.crs
        if crs is None:
            raise _nameless(path, "a place", faulty)
        return Georeferenced(path, crs, _note(given, beside))
    points, points_crs = dataset.gcps
    if points:
        return _by_points(path, dataset, crs or points_crs, placing, faulty)
    if dataset.rpcs is not None:
        options = {"src_crs": _WGS84, "crs": crs or _WGS84, "SRC_METHOD": "RPC"}
        return _warped(path, dataset, options, f"rpc {_note(given, beside)}")
    if broken := _world_file_beside(path):
        raise SourceError(
            f"{path} is not georeferenced: {broken} beside it cannot be read as a world file, which has six lines with "
            "a number each: width of a pixel, 0, 0, minus its height, and x and y of the centre of the first pixel"
        )
    raise SourceError(
        f"{path} is not georeferenced: put a world file beside it ({_world_file(path)}), or add ground control points "
        "in QGIS (Layer > Georeferencer); with its corners known: gdal_edit.py -a_srs EPSG:CODE "
        "-a_ullr LEFT TOP RIGHT BOTTOM FILE"
    )


def _by_points(
    path: str, dataset: DatasetReader, crs: CRS | None, placing: Placing, faulty: str
) -> Georeferenced:
    if crs is None:
        raise _nameless(path, "ground control points", faulty)
    points, _ = dataset.gcps
    if len(points) < 3:
        raise SourceError(f"{path} has {len(points)} ground control points: at least 3 are needed")
    method = "GCP_TPS" if placing.gcp_transform == "tps" else "GCP_POLYNOMIAL"
    how = [[point.row, point.col, point.x, point.y] for point in points]
    options = {"src_crs": crs, "crs": crs, "SRC_METHOD": method}
    return _warped(path, dataset, options, f"{method} {how} {crs.to_wkt() if placing.crs else ''}")


def _warped(path: str, dataset: DatasetReader, options: dict[str, Any], how: str) -> Georeferenced:
    """Return a virtual file that warps the raster to a north-up grid, with an alpha band round it."""
    try:
        with (
            gdal_errors(),
            expanded(path, dataset) as colours,
            WarpedVRT(colours, **options, **warp_options(colours)) as vrt,
        ):
            text = as_vrt(vrt)
            crs = vrt.crs
    except (RasterioError, OSError, ValueError) as error:
        raise SourceError(
            f"{path} cannot be warped by its control points or RPC model ({str(error).rstrip('.')}): "
            "check them with gdalinfo"
        ) from error
    is_expanded = dataset.colorinterp[0] == ColorInterp.palette
    return Georeferenced(virtual_file(f"{PurePath(file_name(path)).stem}.vrt", text), crs, how, is_expanded)


def warp_options(dataset: DatasetReader) -> dict[str, Any]:
    """Return the options of a `WarpedVRT` that keeps the raster's mask as an alpha band."""
    options: dict[str, Any] = {
        "resampling": Resampling.cubic,
        "tolerance": _TOLERANCE_PX,
        "UNIFIED_SRC_NODATA": "YES",
        "add_alpha": not any(colour.name == "alpha" for colour in dataset.colorinterp),
    }
    if dataset.nodata is not None:
        options["src_nodata"] = dataset.nodata
    return options


def _prj_beside(path: str) -> tuple[CRS | None, str]:
    """Return the CRS in a .prj file beside a local raster, in the WKT of Esri or of OGC; or why there is none.

    Returns:
        The CRS, or None and the name of a file that could not be read as one; may be empty.
    """
    faulty = ""
    if is_remote(path):
        return None, faulty
    file = Path(path)
    for suffix in (".prj", ".PRJ", ".qpj"):
        for beside in (file.with_suffix(suffix), file.with_name(file.name + suffix)):
            if not beside.exists():
                continue
            try:
                text = _decoded(beside.read_bytes())
                # Esri's WKT has no authority codes, and other names.
                return CRS.from_wkt(text, morph_from_esri_dialect="AUTHORITY[" not in text), ""
            except (OSError, UnicodeDecodeError, CRSError):
                faulty = faulty or beside.name
    return None, faulty


def _decoded(raw: bytes) -> str:
    """Text as programs write it: UTF-8, UTF-16 (some of Windows), or one byte for each letter."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16").strip()
    if raw[1:2] == b"\0":
        return raw.decode("utf-16-le").strip()
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _nameless(path: str, what: str, faulty: str) -> SourceError:
    """The error that a raster has a place in an unknown CRS."""
    way_out = f"or put {PurePath(file_name(path)).with_suffix('.prj').name} beside it"
    if faulty:
        way_out = f"or replace {faulty} beside it, which cannot be read as a CRS"
    return SourceError(
        f"{path} has {what}, but does not say in which CRS: name it with --crs EPSG:CODE, {way_out}"
    )


def _note(given: CRS | None, beside: CRS | None) -> str:
    found = given or beside
    return f"crs {found.to_wkt()}" if found else ""


def _world_file(path: str) -> str:
    """Name of a world file: the first and last letter of the suffix, and w."""
    name = PurePath(file_name(path))
    suffix = name.suffix or ".tif"
    return name.with_suffix(f".{suffix[1]}{suffix[-1]}w").name


def _world_file_beside(path: str) -> str:
    """Name of a world file beside a local raster; empty if there is none."""
    if is_remote(path):
        return ""
    file = Path(path)
    suffixes = (PurePath(_world_file(path)).suffix, f"{file.suffix}w", ".wld")
    return next((one.name for suffix in suffixes if (one := file.with_suffix(suffix)).exists()), "")
