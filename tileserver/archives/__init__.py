"""Tiles in one file, or in a folder of files: MBTiles 1.3, PMTiles 3, and `{z}/{x}/{y}.{ext}`."""

from tileserver.archives.identity import Identity
from tileserver.archives.readers import Archive, open_archive

__all__ = ["Archive", "Identity", "open_archive"]
