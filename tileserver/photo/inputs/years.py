"""The year of a photograph, from its name or its tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tileserver.photo.inputs.naming import title_of

# 1951, or the beginning of a date such as 19510612 or 1951-06-12.
_YEAR: Final = re.compile(r"(?<!\d)(18[3-9]\d|19\d\d|20\d\d)(?:(?!\d)|(?=(?:0[1-9]|1[0-2])[0-3]\d(?!\d)))")
# Not TIFFTAG_DATETIME, which tells when a film was scanned or a file was written.
_TAGS: Final = ("YEAR", "ACQUISITION_DATE", "ACQUISITIONDATE", "ACQUISITIONDATETIME")


def year_in(text: str) -> int | None:
    """Return the only year in a text; None if there is none, or if there are several."""
    found = {int(year) for year in _YEAR.findall(text)}
    return found.pop() if len(found) == 1 else None


def year_of(path: str) -> int | None:
    """Return the year of a photograph, from its name, else from the tags of its file; None if neither tells."""
    return year_in(title_of(path)) or _in_tags(path)


def year_of_photograph(name: str, date: str, files: Sequence[str]) -> int | None:
    """Return the year of an open photograph, from its title, its date or its file's tags; None if nothing tells.

    Args:
        name: its title.
        date: when it was taken, as a STAC item says; may be empty.
        files: the only file that it consists of; empty for several files, or none.
    """
    return year_in(name) or year_in(date) or next(map(year_of, files), None)


def _in_tags(path: str) -> int | None:
    if not Path(path).is_file():
        return None
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as dataset:
            tags = {**dataset.tags(), **dataset.tags(ns="IMAGERY")}
    except RasterioError:
        return None  # reported when it is opened as a photograph
    for name in _TAGS:
        if name in tags and (year := year_in(tags[name])):
            return year
    return None
