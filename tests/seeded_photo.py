"""A photograph with a hole, seeded into an output of each kind by the command itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from command_calls import seed

from tileserver.archives.readers import Archive, open_archive
from tileserver.service import TileService

OUTPUTS: Final = ("a.mbtiles", "a.pmtiles", "folder")
# As `SeededPhoto` was made.
OPTIONS: Final = ("--zooms", "12-19", "--format", "png")


@dataclass(frozen=True)
class SeededPhoto:
    """The photograph, a folder with `OUTPUTS`, and a service of the photograph."""

    source: Path
    folder: Path
    service: TileService

    def archive(self, name: str) -> Archive:
        return open_archive(self.folder / name)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return self.service.old.info.bounds_lonlat


def seed_outputs(source: Path, folder: Path, weights: Path) -> None:
    for name in OUTPUTS:
        result = seed(source, folder / name, weights, *OPTIONS)
        assert result.exit_code == 0, result.output
