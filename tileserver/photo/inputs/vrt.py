"""A user's own VRT: every file that it names is looked at, and gaps between its sheets get a mask."""

from __future__ import annotations

import copy
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import shapely
from rasterio.errors import RasterioError
from shapely.geometry import box

from tileserver.errors import SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.fingerprint import files_of
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.formats import reason
from tileserver.photo.inputs.naming import is_remote
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.probe import probe
from tileserver.photo.inputs.sheets import Fault, report_faults
from tileserver.photo.inputs.virtual import virtual_file
from tileserver.photo.inputs.vrt_values import take_over_values
from tileserver.photo.inputs.wholeness import missing_part
from tileserver.photo.notice import Notice

_THREADS: Final = 8
_NAMES: Final = ("SourceFilename", "SourceDataset")
# Sources that copy pixels of a file; others compute them.
_COPIES: Final = ("SimpleSource", "ComplexSource")
# The size of the sheets' pixels, in pixels of the VRT, below which it loses detail.
_COARSER: Final = 0.98
_DEEPEST: Final = 4


@dataclass(frozen=True)
class CheckedVrt:
    """A VRT whose files were looked at.

    Attributes:
        path: what GDAL opens: the VRT itself, or a virtual one without absent sheets and with a mask.
        files: paths of all files; None if GDAL's own list will do.
        warnings: what to tell the user.
    """

    path: str
    files: tuple[str, ...] | None
    warnings: tuple[Notice, ...]


def check_vrt(path: str, placing: Placing, within: tuple[str, ...] = ()) -> CheckedVrt:
    """Look at every file that a VRT names.

    Args:
        path: of the VRT.
        placing: what to do about absent files.
        within: the VRTs that it is named by.

    Raises:
        SourceError: files are absent or damaged and `placing` refuses that, the VRT is not XML, or it names itself.
    """
    try:
        root = ET.fromstring(Path(path).read_text(encoding="utf-8"))  # noqa: S314 - the user's own file
    except (OSError, ET.ParseError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as a VRT ({error}). Check it with gdalinfo") from error
    named = {id(element): _absolute(element, path) for element in _named(root)}
    chain = (*within, str(Path(path).absolute()))
    if itself := next((one for one in chain if one in named.values()), ""):
        raise SourceError(f"{path} reads {itself}, which it is a part of: build it again with gdalbuildvrt")
    looked = _look(sorted(set(named.values())))
    faults = [one for one in looked.values() if isinstance(one, Fault)]
    warnings = report_faults(faults, len(looked), placing)
    if faults:
        _leave_out(root, named, {fault.path for fault in faults}, path)
    nested = _check_nested(set(looked), placing, chain)
    for element in _named(root):
        inner = named[id(element)]
        element.text = nested[inner].path if inner in nested else inner
        element.set("relativeToVRT", "0")
    valued = take_over_values(root, path)
    gaps = _has_gaps(root)
    if gaps:
        _add_mask(root)
    warnings += [warning for one in nested.values() for warning in one.warnings]
    warnings += _warn_of_size(root, sorted(looked))
    if not (faults or gaps or valued or any(one.path != inner for inner, one in nested.items())):
        return CheckedVrt(path, None, tuple(warnings))
    _keep_overviews(root, path)
    files = [file for one in looked.values() if not isinstance(one, Fault) for file in one]
    files += [file for one in nested.values() for file in one.files or ()]
    virtual = virtual_file(Path(path).name, ET.tostring(root, encoding="unicode"))
    return CheckedVrt(virtual, tuple(dict.fromkeys([path, *files])), tuple(warnings))


def _check_nested(paths: set[str], placing: Placing, within: tuple[str, ...]) -> dict[str, CheckedVrt]:
    """Check the VRTs among the files that a VRT names."""
    return {
        path: check_vrt(path, placing, within)
        for path in sorted(paths)
        if path.lower().endswith(".vrt") and Path(path).exists() and len(within) <= _DEEPEST
    }


def _warn_of_size(root: ET.Element, sheets: list[str]) -> list[Notice]:
    ratio = _coarsest_ratio(root)
    if ratio >= _COARSER:
        return []
    text = (
        f"the VRT's pixels are {1 / ratio:.2f} times as large as those of its finest sheet, so detail is lost: name "
        "the sheets' folder instead of the VRT, or build it with gdalbuildvrt -resolution highest"
    )
    return [Notice("coarser-than-sheets", text, f"orthosharp info {shlex.join(sheets)}")]


def _named(root: ET.Element) -> Iterator[ET.Element]:
    for name in _NAMES:
        yield from (element for element in root.iter(name) if element.text)


def _absolute(element: ET.Element, vrt: str) -> str:
    text = (element.text or "").strip()
    if is_remote(text) or Path(text).is_absolute() or text.startswith("<"):
        return text
    if element.get("relativeToVRT") == "1":
        return str(Path(vrt).absolute().parent / text)
    return str(Path(text).absolute())


def _look(paths: list[str]) -> dict[str, Fault | tuple[str, ...]]:
    """The files of each source, or what is wrong with it."""

    def look(path: str) -> Fault | tuple[str, ...]:
        if not is_remote(path) and Path(path).is_absolute() and not Path(path).exists():
            return Fault(path, "there is no such file")
        try:
            with gdal_errors(), open_dataset(path) as dataset:
                if missing := missing_part(path):
                    return Fault(path, f"it was cut short: {missing}")
                probe(dataset)
                return files_of(path, dataset)
        except (RasterioError, OSError) as error:
            return Fault(path, reason(path, error))

    plain = [path for path in paths if not path.lower().endswith(".vrt") or not Path(path).exists()]
    with ThreadPoolExecutor(_THREADS, "orthosharp-look") as pool:
        found = dict(zip(plain, pool.map(look, plain), strict=True))
    # A nested VRT is looked at by itself, so that the absent sheet is named, and not the VRT.
    for path in paths:
        found.setdefault(path, (path,))
    return found


def _leave_out(root: ET.Element, named: dict[int, str], absent: set[str], path: str) -> None:
    """Remove the sources that read absent files."""
    left = 0
    for parent in root.iter():
        for source in list(parent):
            names = [element for element in source if element.tag == "SourceFilename" and element.text]
            if not names:
                continue
            if any(named[id(element)] in absent for element in names):
                parent.remove(source)
            else:
                left += 1
    if any(named[id(element)] in absent for element in _named(root)) or not left:
        raise SourceError(
            f"{path} cannot do without the files that are missing: rebuild it with gdalbuildvrt"
        )


def _has_gaps(root: ET.Element) -> bool:
    """Return whether a plain mosaic leaves part of its rectangle empty, and nothing in it says so."""
    bands = root.findall("VRTRasterBand")
    if root.get("subClass") or root.find("MaskBand") is not None or not bands:
        return False
    if any(band.get("subClass") or band.find("NoDataValue") is not None for band in bands):
        return False
    if any(band.findtext("ColorInterp") == "Alpha" for band in bands):
        return False
    sources = [child for child in bands[0] if child.find("SourceFilename") is not None]
    rectangles = [_rectangle(source) for source in sources]
    if not sources or any(source.tag not in _COPIES for source in sources) or None in rectangles:
        return False
    whole = box(0, 0, float(root.get("rasterXSize", 0)), float(root.get("rasterYSize", 0)))
    # Whole pixels only: rounded rectangles leave slits between sheets that touch.
    covered = shapely.union_all([box(*one).buffer(0.5, join_style="mitre") for one in rectangles if one])
    return bool(whole.difference(covered).area > 0.5)


def _rectangle(source: ET.Element) -> tuple[float, float, float, float] | None:
    found = source.find("DstRect")
    if found is None:
        return None
    x, y, width, height = (float(found.get(name, 0)) for name in ("xOff", "yOff", "xSize", "ySize"))
    return x, y, x + width, y + height


def _add_mask(root: ET.Element) -> None:
    """Add a mask that shows the ground of the first band's sources, less what they hide themselves."""
    mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for source in root.findall("VRTRasterBand")[0]:
        if source.tag not in _COPIES:
            continue
        made = ET.SubElement(mask, "ComplexSource")
        for child in source:
            if child.tag in ("SourceFilename", "SrcRect", "DstRect"):
                made.append(copy.deepcopy(child))
            elif child.tag == "SourceBand":
                ET.SubElement(made, "SourceBand").text = "mask,1"
        ET.SubElement(made, "NODATA").text = "0"


def _keep_overviews(root: ET.Element, path: str) -> None:
    """Make overviews of the sheets' own in place of those beside the VRT, which were made of other pixels."""
    if root.find("OverviewList") is None and Path(f"{path}.ovr").exists():
        with open_dataset(path) as dataset:
            factors = " ".join(map(str, dataset.overviews(1)))
        if factors:
            ET.SubElement(root, "OverviewList", resampling="average").text = factors


def _coarsest_ratio(root: ET.Element) -> float:
    """Pixels of the VRT per pixel of its finest sheet; 1 if it says nothing of it."""
    ratios = [1.0]
    for source in root.iter():
        if source.tag in _COPIES:
            read, written = source.find("SrcRect"), source.find("DstRect")
            if read is not None and written is not None and float(read.get("xSize", 0)) > 0:
                ratios.append(float(written.get("xSize", 0)) / float(read.get("xSize", 1)))
    return min(ratios)
