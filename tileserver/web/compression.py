"""Text is sent compressed to those who accept it; pictures are compressed already."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from typing import Final

from starlette.datastructures import MutableHeaders

from tileserver.web.accept import qualities

_TEXT: Final = re.compile(r"(text/|application/(javascript|xml|json|[\w.+-]+\+(json|xml))|image/svg)")
# Below this, the headers are most of an answer.
_MIN_BYTES: Final = 1000
_LEVEL: Final = 6
_KEPT: Final = 64


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3); not where it is malformed."""
    allowed = dict(qualities(header))
    return allowed.get("gzip", allowed.get("*", 0.0)) > 0


def may_compress(headers: MutableHeaders, body: bytes) -> bool:
    """Return whether an answer is text, and long enough to be worth it."""
    kind = headers.get("content-type", "")
    return len(body) >= _MIN_BYTES and "content-encoding" not in headers and bool(_TEXT.match(kind))


@lru_cache(_KEPT)
def compressed(body: bytes) -> bytes:
    """Return the body in gzip format, the same bytes each time; kept, since most are files of the page."""
    return gzip.compress(body, _LEVEL, mtime=0)
