"""What a seeder needs of the place where its tiles go."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from tileserver.archives.metadata import Description
from tileserver.jobs.seed.journal import Journal
from tileserver.tiling.grid import TileAddress

Tiles = Iterable[tuple[TileAddress, bytes]]


class Output(Protocol):
    """Somewhere to put tiles.

    Attributes:
        name: what the person called it.
        journal_path: where the journal lies until all is done.
        failures_path: where failures are listed.
        disk: folder whose disk gets the bytes; None for a store elsewhere.
        copies: how many times the bytes lie there at the end of the work.
        tile_bytes: what a tile takes there besides its own bytes.
        schema: tables that the journal has to have.
    """

    name: str
    journal_path: Path
    failures_path: Path
    disk: Path | None
    copies: int
    tile_bytes: int
    schema: str

    def metadata(self) -> dict[str, Any] | None:
        """What a finished output says about itself, or None where there is nothing.

        Empty where tiles lie that say nothing: their run was interrupted, and its journal is not here.

        Raises:
            ArchiveError: something else is there.
        """

    def clear(self) -> None:
        """Remove what a new run must not leave behind.

        Raises:
            OutputError: the store does not answer.
        """

    def deliver(self, tiles: Tiles) -> None:
        """Bring tiles to a store, from any thread, before they are recorded.

        Raises:
            OutputError: it does not take them.
        """

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """Keep tiles in the journal's transaction."""

    def finish(self, journal: Journal, description: Description, *, again: bool) -> int:
        """Make the output whole; `again` keeps the journal for another run. Closes it.

        Returns:
            Bytes of the output.

        Raises:
            OutputError: it cannot be written.
        """
