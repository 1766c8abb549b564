"""Names of photographs as users know them, from paths and URLs."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final
from urllib.parse import unquote, urlsplit

from tileserver.names import is_remote as is_remote

_URL: Final = re.compile(r"(?:/vsicurl/)?(https?://.+)", re.IGNORECASE)


def file_name(path: str) -> str:
    """Return the last part of a path or URL, without the query of a URL, which may hold a signature."""
    url = _URL.fullmatch(path)
    if url is None:
        return PurePath(path).name
    return PurePath(unquote(urlsplit(url[1]).path)).name


def title_of(path: str) -> str:
    """Return the name of a photograph: its file name without suffix."""
    return PurePath(file_name(path)).stem
