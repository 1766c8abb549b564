"""How the names of archives end, and of the file that completes a folder of tiles."""

from __future__ import annotations

from typing import Final

MBTILES: Final = ".mbtiles"
PMTILES: Final = ".pmtiles"
# Written to a folder of tiles last, when the set is complete.
TILEJSON: Final = "tilejson.json"
