"""What an archive says about itself: whose picture it is, that a network made it, and where it lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tileserver.archives.identity import Identity
from tileserver.tiling.grid import BBox


@dataclass(frozen=True)
class Description:
    """Metadata of a set of tiles.

    Attributes:
        name: of the map.
        attribution: HTML for map clients: credit and AI notice.
        credit: whose photograph it is; may be empty.
        notice: plain words that a network made the pictures.
        bounds: ground in degrees.
        min_zoom, max_zoom: first and last zoom.
        date: when the tiles were made, ISO 8601.
        identity: what made them.
        options: which tiles were asked for.
    """

    name: str
    attribution: str
    credit: str
    notice: str
    bounds: BBox
    min_zoom: int
    max_zoom: int
    date: str
    identity: Identity
    options: str

    @property
    def center(self) -> tuple[float, float, int]:
        """Where a map may begin: longitude, latitude, zoom."""
        return *self.bounds.centre, (self.min_zoom + self.max_zoom + 1) // 2

    @property
    def extras(self) -> dict[str, Any]:
        """What no standard has a field for. Archives are made to be given away: they name no local path."""
        identity = self.identity
        return {
            "credit": self.credit,
            "ai_restored": "yes",
            "model": identity.model,
            "model_digest": identity.weights,
            "date": self.date,
            "tile_size": 256 * identity.scale,
            "orthosharp": json.loads(identity.to_json()),
            "orthosharp_options": self.options,
        }

    def tilejson(self) -> dict[str, Any]:
        """TileJSON 3.0.0 for a folder; the address of the tiles is relative to its own."""
        return {
            "tilejson": "3.0.0",
            "name": self.name,
            "description": self.notice,
            "version": "1.0.0",
            "scheme": "xyz",
            "attribution": self.attribution,
            "tiles": [f"{{z}}/{{x}}/{{y}}.{self.identity.format}"],
            "bounds": list(self.bounds),
            "center": list(self.center),
            "minzoom": self.min_zoom,
            "maxzoom": self.max_zoom,
            **self.extras,
        }

    def mbtiles(self) -> dict[str, str]:
        """Rows of the table `metadata` of MBTiles 1.3."""
        rows = {
            "name": self.name,
            "format": self.identity.format,
            "bounds": ",".join(f"{value:.7f}" for value in self.bounds),
            "center": "{:.7f},{:.7f},{}".format(*self.center),
            "minzoom": str(self.min_zoom),
            "maxzoom": str(self.max_zoom),
            "attribution": self.attribution,
            "description": self.notice,
            "type": "baselayer",
            "version": "1.0.0",
        }
        extras = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in self.extras.items()
        }
        return rows | extras

    def pmtiles(self) -> dict[str, Any]:
        """The JSON metadata of PMTiles 3; bounds and zooms stand in its header."""
        return {
            "name": self.name,
            "description": self.notice,
            "attribution": self.attribution,
            "type": "baselayer",
            "version": "1.0.0",
            **self.extras,
        }
