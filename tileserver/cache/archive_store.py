"""An archive as a read-only store of a server's tiles."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import struct
import zlib
from typing import Final

from tileserver.archives.identity import MapIdentity
from tileserver.archives.readers import Archive
from tileserver.errors import ArchiveError, DamagedError
from tileserver.tiling.encode import is_whole
from tileserver.tiling.tile import TileKey

logger = logging.getLogger("orthosharp")
# What readers raise over bytes that are not what was written.
_UNREADABLE: Final = (sqlite3.Error, ValueError, IndexError, EOFError, OSError, zlib.error, struct.error)


class ArchiveTiles:
    """Gives the tiles of an archive to services whose photograph and recipe it was made of.

    Below the zooms that metatiles fill, seeded tiles are averages of restored ones, which a service by itself
    cannot make. `bind` gives the service a digest for its keys, so that no ETag stands for both.

    Args:
        archive: closed with this.
    """

    name = "the archive"
    writable = False

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._identity = archive.identity
        self._told = False
        self._digest = hashlib.sha256(json.dumps(archive.metadata, sort_keys=True).encode()).hexdigest()

    def bind(self, served: MapIdentity) -> str:
        """Check that the archive's tiles are the map's, before any of its keys comes to `get`.

        Returns:
            Content digest for the map's keys: another one with another archive.

        Raises:
            ArchiveError: the archive holds other tiles than the map's.
        """
        mine = self._identity
        differences = served.of_tiles(mine.tms, mine.format, scale=mine.scale).differences(mine)
        if differences:
            raise ArchiveError(
                f"the archive was not made of what is served ({'; '.join(differences)}): seed it again, "
                "or serve without it"
            )
        return hashlib.sha256(f"{served.content}/{self._digest}".encode()).hexdigest()

    def get(self, key: TileKey) -> bytes | None:
        """The tile's bytes, or None where the archive has none.

        Args:
            key: of a service that this is bound to.

        Raises:
            DamagedError: the tile is damaged, or the way to it.
        """
        mine = self._identity
        if (key.layer, key.tms, key.scale, key.ext) != (mine.layer, mine.tms, mine.scale, mine.format):
            return None
        try:
            body = self._archive.get(key.z, key.x, key.y)
        except _UNREADABLE as error:
            raise self._damaged(key, error) from error
        if body is not None and not is_whole(body, key.ext):
            raise self._damaged(key, "no whole picture")
        return body

    def _damaged(self, key: TileKey, reason: object) -> DamagedError:
        if not self._told:
            self._told = True
            logger.warning(
                "the archive is damaged at %d/%d/%d (%s), and perhaps elsewhere: such tiles are made anew. "
                "Seed it again",
                *(key.z, key.x, key.y, reason),
            )
        return DamagedError("a tile of the archive is damaged")

    def put(self, key: TileKey, body: bytes) -> None:
        """Keep nothing: an archive is whole as it is."""

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()
