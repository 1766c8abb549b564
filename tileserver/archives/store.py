"""An archive as a read-only store of a server's tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tileserver.archives.identity import Identity, content_of
from tileserver.archives.read import Archive
from tileserver.cache.key import TileKey
from tileserver.encode import default_quality
from tileserver.errors import ArchiveError

if TYPE_CHECKING:  # a service may look for its tiles in an archive
    from tileserver.service import TileService


class ArchiveTiles:
    """Gives the tiles of an archive to the service whose photograph and recipe it was made of.

    Below the zooms that metatiles fill, seeded tiles are averages of restored ones, which a service by itself
    cannot make: an answer out of here needs an ETag of its own there, such as a digest of its bytes.

    Args:
        archive: closed with this.
        service: who asks.

    Raises:
        ArchiveError: the archive holds other tiles than the service's.
    """

    name = "the archive"
    writable = False

    def __init__(self, archive: Archive, service: TileService) -> None:
        found = archive.identity
        differences = _wanted(found, service).differences(found)
        if differences:
            raise ArchiveError(
                f"the archive was not made of what is served ({'; '.join(differences)}): seed it again"
            )
        self._archive = archive
        self._identity = found

    def get(self, key: TileKey) -> bytes | None:
        """The tile's bytes, or None where the archive has none.

        Args:
            key: made by the service that this was opened for.
        """
        mine = self._identity
        if (key.layer, key.tms, key.scale, key.ext) != (mine.layer, mine.tms, mine.scale, mine.format):
            return None
        return self._archive.get(key.z, key.x, key.y)

    def put(self, key: TileKey, body: bytes) -> None:
        """Keep nothing: an archive is whole as it is."""

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()


def _wanted(found: Identity, service: TileService) -> Identity:
    """The identity that an archive of the service's tiles has, in the archive's own format, grid and scale."""
    return Identity(
        content=content_of(service),
        source=service.old.info.name,
        fingerprint=service.old.info.fingerprint,
        model=service.restorer.spec.name,
        weights=service.restorer.digest,
        layer="restored",
        tms=found.tms,
        format=found.format,
        quality=default_quality(found.format),
        scale=found.scale,
    )
