"""Commands of GDAL that mend a file, and leave what it shows as it is: its values, its colours and what it hides."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from tileserver.photo.inputs.naming import is_remote, title_of
from tileserver.photo.value_range import is_negative
from tileserver.photo.virtual import absolute_name, alpha_band

_ADD: Final = "gdaladdo -r average"
# Of the copies of a mosaic's sheets: inside the folder of the sheets, where nothing looks for sheets.
_COPIES: Final = "with_overviews"


@dataclass(frozen=True)
class Mending:
    """How a file is mended.

    Attributes:
        command: shell command.
        copy: path of the mended copy that it makes; empty if it changes the file.
    """

    command: str
    copy: str = ""


@dataclass(frozen=True)
class MendedFile:
    """A file that commands are made for.

    Attributes:
        path: its path or URL.
        dataset: the file, open as it is.
        crs: the CRS that it has, or that the user names.
        copy: path of a copy of it, where one has to be made.
    """

    path: str
    dataset: DatasetReader
    crs: CRS
    copy: str

    @classmethod
    def of_photograph(cls, path: str, dataset: DatasetReader, crs: CRS) -> MendedFile:
        """A photograph, with its copy beside it, or here if that cannot be written or it is a URL."""
        return cls(path, dataset, crs, str(_writable_folder(path) / f"{_stem(path)}_overviews.tif"))

    @classmethod
    def of_sheet(cls, path: str, dataset: DatasetReader, crs: CRS) -> MendedFile:
        """A sheet of a mosaic, with its copy in a folder beside it, or here, as `of_photograph`."""
        folder, own = _writable_folder(path), PurePath(path).parent
        # Sheets of several folders may have one name.
        name = _stem(path) if is_remote(path) or folder == own else f"{own.name}_{_stem(path)}"
        return cls(path, dataset, crs, str(folder / _COPIES / f"{name}.tif"))

    def add_overviews(self) -> Mending:
        """Give it overviews: in place, or in a copy where that would change or break it."""
        if not self._takes_overviews():
            return self.as_copy()
        # Overviews of a VRT read those of its files.
        virtual = " --config VRT_VIRTUAL_OVERVIEWS YES" if self.dataset.driver == "VRT" else ""
        return Mending(f"{_ADD}{virtual} {shlex.quote(self.path)}")

    def remake_overviews(self) -> Mending:
        """Replace its overviews, which show what the file hides."""
        if self.dataset.driver == "VRT" and self._is_writable:
            return Mending(f"gdaladdo -clean {shlex.quote(self.path)} && {self.add_overviews().command}")
        # Not in place: `gdaladdo -clean` of GDAL 3.6 loses a mask that was written after the overviews.
        return self.as_copy()

    def make_image_band(self, band: int) -> Mending:
        """Make an image of a band that is tagged as alpha."""
        option = f"-colorinterp_{band} undefined"
        if not self._is_writable or self._is_cog:
            return self.as_copy(option)
        return Mending(f"gdal_edit.py {option} {shlex.quote(self.path)}")

    def name_crs(self) -> Mending:
        """Make the file say that it has the CRS `crs`: in place, or in a copy where that would change or break it."""
        # Beside control points, gdal_edit.py writes a CRS that is not theirs.
        if not self._is_writable or self._is_cog or self.dataset.gcps[0]:
            return self.as_copy()
        return Mending(f"{name_crs_of_each(self.crs)} {shlex.quote(self.path)}")

    def as_copy(self, *more: str) -> Mending:
        """Copy it without loss, and give the copy overviews.

        Not with GDAL's COG driver, which drops the tag of a negative and cannot compress some numbers of bits.
        """
        given = absolute_name(self.path, self.dataset) if is_remote(self.path) else self.path
        options = [*more, "-co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER"]
        if is_negative(self.dataset):
            options.insert(0, "-co PHOTOMETRIC=MINISWHITE")
        # As text: rasterio finds a CRS without a datum equal to the same one with any datum.
        own = [crs.to_wkt() for crs in (self.dataset.crs, self.dataset.gcps[1]) if crs]
        if self.crs.to_wkt() not in own and self.dataset.rpcs is None:
            options.insert(0, f"-a_srs {_name_of(self.crs)}")
        made = shlex.quote(self.copy)
        return Mending(
            f"gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES {' '.join(options)} {shlex.quote(given)} {made} "
            f"&& {_ADD} {made}",
            self.copy,
        )

    @property
    def _is_writable(self) -> bool:
        """Whether the file can be changed: it, and the folder, where GDAL puts what does not fit into it."""
        return not is_remote(self.path) and all(
            os.access(path, os.W_OK) for path in (self.path, Path(self.path).absolute().parent)
        )

    @property
    def _is_cog(self) -> bool:
        """Whether a change would break its layout, which newer versions of GDAL refuse."""
        return str(self.dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT", "")) == "COG"

    def _takes_overviews(self) -> bool:
        """Whether gdaladdo gives it overviews that show and hide the same as the file."""
        dataset = self.dataset
        if not self._is_writable or self._is_cog:
            return False
        tiff = dataset.driver == "GTiff"
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        space, compression = structure.get("SOURCE_COLOR_SPACE"), str(structure.get("COMPRESSION", ""))
        # GDAL converts such colours as it reads, and cannot write them: it leaves overviews that cannot be read.
        if tiff and space and not (space == "YCbCr" and "JPEG" in compression):
            return False
        has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0] and alpha_band(dataset) is None
        # Of a mask outside of a TIFF it makes no overviews.
        inside = tiff and not any(file.endswith(".msk") for file in dataset.files)
        return inside or dataset.driver == "VRT" or not has_mask


def name_crs_of_each(crs: CRS) -> str:
    """Return the command that makes a file, whose path has to follow, say that it has a CRS."""
    return f"gdal_edit.py -a_srs {_name_of(crs)}"


def _name_of(crs: CRS) -> str:
    code = crs.to_authority()
    return shlex.quote(":".join(code) if code else crs.to_wkt())


def _stem(path: str) -> str:
    return title_of(path) if is_remote(path) else PurePath(path).stem


def _writable_folder(path: str) -> PurePath:
    """Where a copy of a file can be written: beside it, else in the working folder, else among temporary files."""
    beside = PurePath(path).parent
    if not is_remote(path) and os.access(beside, os.W_OK):
        return beside
    return PurePath() if os.access(Path.cwd(), os.W_OK) else PurePath(tempfile.gettempdir())


def mend_sheets(mendings: Mapping[str, Mending], paths: Sequence[str], in_place: str = _ADD) -> str:
    """Return one command that mends some sheets of a mosaic, and looks at it with the copies in place of the sheets.

    Args:
        mendings: of each of these sheets, by its path.
        paths: of all sheets, in their order.
        in_place: the command for a sheet that can be changed, without its path.
    """
    copies = {path: one.copy for path, one in mendings.items() if one.copy}
    if not copies:
        return f'for sheet in {shlex.join(mendings)}; do {in_place} "$sheet"; done'
    folders = dict.fromkeys(str(PurePath(copy).parent) for copy in copies.values())
    shown = shlex.join(copies.get(path, path) for path in paths)
    commands = (one.command for one in mendings.values())
    return " && ".join([f"mkdir -p {shlex.join(folders)}", *commands, f"orthosharp info {shown}"])
