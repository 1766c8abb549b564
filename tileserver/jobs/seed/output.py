"""The protocol of outputs of a seed run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from tileserver.archives.metadata import Description
from tileserver.jobs.seed.journal import Journal
from tileserver.tiling.grid import TileAddress

Tiles = Iterable[tuple[TileAddress, bytes]]
# Takes the share of the output that is written, from 0 to 1.
ReportShare = Callable[[float], None]


def unreported(_share: float) -> None:
    """Do nothing: a `ReportShare` for nobody who waits."""


class Output(Protocol):
    """A destination for tiles.

    Attributes:
        name: the output as given by the user.
        journal_path: path of the journal, which exists until the output is complete.
        failures_path: path of the list of failures.
        disk: folder on the disk that receives the tiles; None for a bucket.
        copies: number of copies of the tiles on that disk at the end of the run.
        tile_bytes: disk space of a tile in addition to its length.
        schema: SQL script of the tables that the output adds to the journal.
    """

    name: str
    journal_path: Path
    failures_path: Path
    disk: Path | None
    copies: int
    tile_bytes: int
    schema: str

    def metadata(self) -> dict[str, Any] | None:
        """Return the metadata of an existing, complete output, or None if there is none.

        Empty if there are tiles without metadata: their run was interrupted, and its journal is elsewhere.

        Raises:
            ArchiveError: there is something that orthosharp did not make.
        """

    def clear(self) -> None:
        """Delete what must not remain from an earlier run.

        Raises:
            OutputError: the output cannot be written.
        """

    def deliver(self, tiles: Tiles) -> None:
        """Write tiles to a folder or bucket, before they are recorded; thread-safe.

        Raises:
            OutputError: the tiles cannot be written.
        """

    def record(self, journal: Journal, tiles: Tiles) -> None:
        """Record tiles in the transaction of the journal."""

    def finish(
        self,
        journal: Journal,
        description: Description,
        *,
        again: bool,
        report: ReportShare = unreported,
    ) -> int:
        """Complete the output and close the journal.

        Args:
            journal: journal of the run.
            description: metadata of the output.
            again: whether to keep the journal, so that another run can retry failures.
            report: called again and again while images are copied; never where nothing is.

        Returns:
            Size of the output in bytes.

        Raises:
            OutputError: the output cannot be written.
        """
