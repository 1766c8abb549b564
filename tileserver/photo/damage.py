"""Which file and block GDAL could not read, from its chain of errors."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

_BLOCK: Final = re.compile(
    r"(?:.*: )?(?P<file>[^\n]+?), band (?P<band>\d+): IReadBlock failed at X offset (?P<x>\d+), Y offset (?P<y>\d+)"
)
# rasterio's words for "look at the cause", and GDAL's for a file behind a VRT.
_EMPTY: Final = ("Read failed. See previous exception for details.", "Read or write failed.")


def describe_damage(error: BaseException) -> str:
    """Return file, block and GDAL's reason in one line; file names come without folders.

    Args:
        error: an exception of rasterio; its causes are looked at as well.
    """
    messages: list[str] = []
    current: BaseException | None = error
    while current is not None and len(messages) < 20:
        messages.append(str(current))
        current = current.__cause__ or current.__context__
    reason = next((text for text in reversed(messages) if text and text not in _EMPTY), "no reason given")
    for text in messages:
        if found := _BLOCK.search(text):
            place = f"{PurePath(found['file']).name}, band {found['band']}, block {found['x']}/{found['y']}"
            return f"{place}: {_one_line(reason)}"
    return _one_line(reason)


def is_vague(message: str) -> bool:
    """Return whether the message of an exception says no more than that its cause tells the reason."""
    return message in _EMPTY


def _one_line(text: str) -> str:
    """Shorten a message to a line without folders."""
    line = " ".join(text.split())
    found = _BLOCK.search(line)
    if found:
        line = line[found.end() :].lstrip(": ") or "the block is damaged"
    return re.sub(r"(?:/[^\s/:,]+)+/", "", line).rstrip(".")
