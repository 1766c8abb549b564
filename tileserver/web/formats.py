"""The format of tiles where an address does not name one."""

from __future__ import annotations

from typing import Final

from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.web.accept import preferred

DEFAULT_FORMAT: Final[Extension] = "webp"


def accepted_format(header: str) -> Extension:
    """Return the format that an Accept header prefers; `DEFAULT_FORMAT` where that is as good as any.

    Args:
        header: value of Accept; empty if the client sends none.
    """
    offered = sorted(MEDIA_TYPES, key=lambda extension: extension != DEFAULT_FORMAT)
    found = preferred(header, [MEDIA_TYPES[extension] for extension in offered])
    return next((extension for extension in offered if MEDIA_TYPES[extension] == found), DEFAULT_FORMAT)
