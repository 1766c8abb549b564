"""Shift grids for rasterio's PROJ, from the folders where people put them.

The wheels of rasterio and pyproj each have a PROJ of their own, with a small data set. rasterio's takes a single
folder: one of grids alone (`PROJ_DATA=/usr/share/proj` with Debian's proj-data) would hide the database that came with
the wheel, and the folder that `pyproj sync` writes to is not searched at all. So all of them are combined here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import rasterio
from pyproj import datadir
from rasterio.env import set_proj_data_search_path

_GRIDS: Final = (".tif", ".gsb", ".gtx", ".gvb", ".las", ".los", ".lla")


def use_grids() -> list[Path]:
    """Let rasterio and pyproj find the same grids; return the folders with grids that were found.

    Called once, when this room is imported. Does nothing where rasterio was built against a PROJ of the system, which
    searches all of its folders by itself, or where there are no such folders.
    """
    bundled = Path(rasterio.__file__).parent / "proj_data"
    found = [folder for folder in _folders() if bundled != folder and _grids_in(folder)]
    if not (bundled / "proj.db").is_file():
        return found
    given = any(os.environ.get(name) for name in ("PROJ_DATA", "PROJ_LIB"))
    if found or given:
        searched = str(_combined(bundled, found) if found else bundled)
        # rasterio looks at the variable again in every thread.
        os.environ["PROJ_DATA"] = searched
        os.environ.pop("PROJ_LIB", None)
        set_proj_data_search_path(searched)
    for folder in found:
        datadir.append_data_dir(str(folder))
    return found


def _folders() -> list[Path]:
    named = [os.environ.get(name, "").split(os.pathsep) for name in ("PROJ_DATA", "PROJ_LIB")]
    written = datadir.get_user_data_dir()  # type: ignore[attr-defined]  # public, but not in __all__
    paths = [Path(text) for text in (*named[0], *named[1], written) if text]
    return list(dict.fromkeys(path for path in paths if path.is_dir()))


def _grids_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _GRIDS]


def _combined(bundled: Path, folders: list[Path]) -> Path:
    """A folder with the wheel's own data and links to all grids; removed when the process ends."""
    combined = Path(tempfile.mkdtemp(prefix="orthosharp-proj-"))
    atexit.register(shutil.rmtree, combined, ignore_errors=True)
    for path in (*bundled.iterdir(), *(grid for folder in folders for grid in _grids_in(folder))):
        link = combined / path.name
        if link.exists():
            continue
        try:
            link.symlink_to(path.resolve())
        except OSError:  # Windows, without the right to make links
            shutil.copy(path, link)
    return combined
