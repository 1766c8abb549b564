"""Small text files in GDAL's memory: VRTs that are made for one process and never written to a disk."""

from __future__ import annotations

import hashlib
import threading
from typing import Final

from rasterio.io import MemoryFile

PREFIX: Final = "/vsimem/orthosharp-"

# Kept for the life of the process: threads may still read a file whose photograph was replaced. The same text is the
# same file, so that reloading adds nothing unless a photograph has changed.
_kept: Final[dict[str, MemoryFile]] = {}
_lock: Final = threading.Lock()


def virtual_file(name: str, text: str) -> str:
    """Return the path, for GDAL, of a file with this name and text."""
    data = text.encode()
    folder = f"{PREFIX.removeprefix('/vsimem/')}{hashlib.sha256(data).hexdigest()[:16]}"
    path = f"/vsimem/{folder}/{name}"
    with _lock:
        if path not in _kept:
            _kept[path] = MemoryFile(data, dirname=folder, filename=name)
    return path


def is_virtual(path: str) -> bool:
    """Return whether a path is that of a virtual file."""
    return path.startswith(PREFIX)
