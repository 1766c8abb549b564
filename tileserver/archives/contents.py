"""What a seeded archive says of itself: title, credit, notice and extent, of whichever format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tileserver.tiling.grid import BBox


@dataclass(frozen=True)
class Contents:
    """Metadata of a set of tiles, as a page shows them.

    Attributes:
        name: title of the map.
        credit: owner of the photograph; may be empty.
        notice: AI notice in plain text.
        attribution: both as HTML.
        bounds: west, south, east, north in degrees.
        min_zoom, max_zoom: first and last zoom.
    """

    name: str
    credit: str
    notice: str
    attribution: str
    bounds: BBox
    min_zoom: int
    max_zoom: int


def contents_of(metadata: Mapping[str, Any]) -> Contents:
    """Read metadata as `Description` writes them, with numbers as such or as text.

    Raises:
        ValueError, KeyError, TypeError: a field is missing or malformed.
    """
    bounds = metadata["bounds"]
    numbers = bounds.split(",") if isinstance(bounds, str) else bounds
    return Contents(
        name=str(metadata["name"]),
        credit=str(metadata["credit"]),
        notice=str(metadata["description"]),
        attribution=str(metadata["attribution"]),
        bounds=BBox(*(float(number) for number in numbers)),
        min_zoom=int(metadata["minzoom"]),
        max_zoom=int(metadata["maxzoom"]),
    )
