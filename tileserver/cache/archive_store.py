"""A seeded archive as a read-only tile store."""

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
# Raised by readers of damaged archives.
UNREADABLE: Final = (sqlite3.Error, ValueError, IndexError, EOFError, OSError, zlib.error, struct.error)


class ArchiveTiles:
    """Serves the tiles of an archive to services with the photograph and recipe that it was made from.

    At zooms further out than metatiles reach, seeded tiles are averages of restored ones, while a service without an
    archive renders them from overviews. `bind` returns a content digest of its own, so that the two have different
    ETags.

    Args:
        archive: the archive; closed with the store.
    """

    name = "the archive"
    writable = False

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._identity = archive.identity
        self._warned = False
        self._digest = hashlib.sha256(json.dumps(archive.metadata, sort_keys=True).encode()).hexdigest()

    def bind(self, served: MapIdentity) -> str:
        """Check that the archive was made from what the map serves; call it before `get`.

        Returns:
            Content digest for the map's tile keys; it depends on the archive.

        Raises:
            ArchiveError: the archive was made from another photograph or with another recipe.
        """
        mine = self._identity
        differences = served.of_tiles(mine.tms, mine.format, scale=mine.scale).differences(mine)
        if differences:
            raise ArchiveError(
                f"the archive was not made from what is served ({'; '.join(differences)}): seed it again, "
                "or serve without it"
            )
        return hashlib.sha256(f"{served.content}/{self._digest}".encode()).hexdigest()

    def get(self, key: TileKey) -> bytes | None:
        """Return the tile's bytes, or None if the archive does not contain the tile.

        Args:
            key: key of a service that the store is bound to.

        Raises:
            DamagedError: the tile or the archive's directory is damaged.
        """
        mine = self._identity
        if (key.layer, key.tms, key.scale, key.ext) != (mine.layer, mine.tms, mine.scale, mine.format):
            return None
        try:
            body = self._archive.get(key.z, key.x, key.y)
        except UNREADABLE as error:
            raise self._damaged(key, error) from error
        if body is not None and not is_whole(body, key.ext):
            raise self._damaged(key, "not a complete image")
        return body

    def _damaged(self, key: TileKey, reason: object) -> DamagedError:
        if not self._warned:
            self._warned = True
            logger.warning(
                "the archive is damaged at tile %d/%d/%d (%s) and perhaps elsewhere: damaged tiles are rendered "
                "instead. Seed it again",
                *(key.z, key.x, key.y, reason),
            )
        return DamagedError("a tile of the archive is damaged")

    def put(self, key: TileKey, body: bytes) -> None:
        """Do nothing: an archive is read-only."""

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()
