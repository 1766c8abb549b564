"""Output to files `{z}/{x}/{y}.{ext}` in a folder or bucket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from obstore.exceptions import BaseError

from sr_model.atomic import is_temporary
from tileserver.archives.identity import identity_of
from tileserver.archives.metadata import Description
from tileserver.archives.suffixes import TILEJSON
from tileserver.errors import ArchiveError, OutputError
from tileserver.jobs.seed.file_sink import Files
from tileserver.jobs.seed.journal import Journal
from tileserver.jobs.seed.output import ReportShare, Tiles, unreported
from tileserver.tiling.encode import MEDIA_TYPES, Extension

_TILE: Final = re.compile(r"(\d+)/(\d+)/(\d+)\.(?:png|webp|jpg)")
# Number of existing files to examine before a run.
_LOOKED_AT: Final = 1000


class FilesOutput:
    """A folder or bucket of tiles; its TileJSON is written last and marks the set as complete.

    Args:
        name: the output as given by the user.
        files: the folder or bucket.
        journal_path: path of the journal.
        extension: format of the tiles.
        disk: the folder; None for a bucket.
        changed_only: do not rewrite files whose bytes are the same.
    """

    # The delivered tiles, so that all others can be deleted in the end.
    schema = "CREATE TABLE seed_files (z INTEGER, x INTEGER, y INTEGER, PRIMARY KEY (z, x, y)) WITHOUT ROWID;"
    copies = 1
    # Half a disk block, on average, and a directory entry.
    tile_bytes = 2048 + 256

    def __init__(
        self,
        name: str,
        files: Files,
        journal_path: Path,
        extension: Extension,
        *,
        disk: Path | None = None,
        changed_only: bool = False,
    ) -> None:
        self.name = name
        self.disk = disk
        self.journal_path = journal_path
        self.failures_path = (
            journal_path.with_name("failures.txt") if disk else Path(f"{journal_path}.failures.txt")
        )
        self._files = files
        self._extension = extension
        self._changed_only = changed_only

    def metadata(self) -> dict[str, Any] | None:
        """See `Output`."""
        try:
            text = self._files.read(TILEJSON)
            document = json.loads(text) if text is not None else None
        except (BaseError, OSError, ValueError) as error:
            raise ArchiveError(
                f"{self.name} cannot be read ({_brief(error)}): check address and credentials, or name another"
            ) from error
        if text is None:
            return None if self.journal_path.exists() else self._undescribed()
        if not isinstance(document, dict) or identity_of(document) is None:
            raise ArchiveError(f"{self.name} was not made by this version of orthosharp: name another output")
        return document

    def clear(self) -> None:
        """Delete the TileJSON, since the set is no longer complete, and tiles that the new run may not replace."""
        try:
            if self._files.read(TILEJSON) is not None:
                self._files.remove([TILEJSON])
            if not self._changed_only:
                self._files.remove(name for name, _ in self._files.listing() if _is_ours(name))
        except (BaseError, OSError) as error:
            raise OutputError(
                f"{self.name} cannot be cleared ({_brief(error)}): run the same command again"
            ) from error

    def deliver(self, tiles: Tiles) -> None:
        """See `Output`."""
        media_type = MEDIA_TYPES[self._extension]
        named = ((f"{tile.z}/{tile.x}/{tile.y}.{self._extension}", body) for tile, body in tiles)
        try:
            self._files.put(
                (name, body, media_type)
                for name, body in named
                if not (self._changed_only and self._files.read(name) == body)
            )
        except (BaseError, OSError) as error:
            raise OutputError(
                f"{self.name} cannot be written ({_brief(error)}): "
                "make room if it is full, then run the same command again"
            ) from error

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """See `Output`; `deliver` has written the tiles."""
        rows = ((tile.z, tile.x, tile.y) for tile, _ in tiles)
        journal.connection.executemany("INSERT OR REPLACE INTO seed_files VALUES (?, ?, ?)", rows)

    def finish(
        self,
        journal: Journal,
        description: Description,
        *,
        again: bool,
        report: ReportShare = unreported,  # noqa: ARG002 - the tiles are there already
    ) -> int:
        """See `Output`."""
        text = json.dumps(description.tilejson(), indent=2).encode()
        try:
            self._files.remove(name for name, _, ours in self._tiles(journal) if not ours)
            total = sum(size for _, size, _ in self._tiles(journal))
            self._files.put([(TILEJSON, text, "application/json")])
        except (BaseError, OSError) as error:
            raise OutputError(
                f"the TileJSON of {self.name} cannot be written ({_brief(error)}): run the same command again"
            ) from error
        journal.close()
        if not again:
            self.journal_path.unlink(missing_ok=True)
        return total

    def _tiles(self, journal: Journal) -> Iterator[tuple[str, int, bool]]:
        """Yield name and size of tiles and temporary files, and whether the file is a tile of this run."""
        query = "SELECT 1 FROM seed_files WHERE z = ? AND x = ? AND y = ?"
        for name, size in self._files.listing():
            tile = _TILE.fullmatch(name)
            if tile and name.endswith(self._extension):
                yield name, size, journal.connection.execute(query, tile.groups()).fetchone() is not None
            elif _is_ours(name):
                yield name, size, False

    def _undescribed(self) -> dict[str, Any] | None:
        """Return None if there are no files, and empty metadata if there are tiles only.

        Raises:
            ArchiveError: there are other files.
        """
        try:
            names = [name for (name, _), _ in zip(self._files.listing(), range(_LOOKED_AT), strict=False)]
        except (BaseError, OSError) as error:
            raise ArchiveError(
                f"{self.name} cannot be listed ({_brief(error)}): check address and credentials"
            ) from error
        others = [name for name in names if not _is_ours(name)]
        if others:
            raise ArchiveError(
                f"{self.name} contains files that are not tiles ({others[0]}): name another folder"
            )
        return {} if names else None


def _is_ours(name: str) -> bool:
    """Return whether a file is a tile, or a temporary file that a kill left behind."""
    return _TILE.fullmatch(name) is not None or is_temporary(name.rpartition("/")[2])


def _brief(error: Exception) -> str:
    """Return the first line of a message: stores append their whole configuration."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
