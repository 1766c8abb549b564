"""The metadata of a set of tiles: credit, AI notice, provenance and extent, in the fields of each format."""

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
        name: title of the map.
        attribution: credit and AI notice as HTML, for map clients.
        credit: owner of the photograph; may be empty.
        notice: AI notice in plain text.
        bounds: ground covered, in degrees.
        min_zoom, max_zoom: first and last zoom.
        date: when the tiles were made, in ISO 8601.
        identity: provenance of the tiles.
        options: which tiles were requested, as JSON.
        source_type: IPTC digital source type, which each tile carries as XMP, too; may be empty.
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
    source_type: str = ""

    @property
    def center(self) -> tuple[float, float, int]:
        """Initial view of a map: longitude, latitude, zoom."""
        return *self.bounds.centre, (self.min_zoom + self.max_zoom + 1) // 2

    @property
    def extras(self) -> dict[str, Any]:
        """Fields that no standard defines. They contain no local paths, since archives are made to be passed on."""
        identity = self.identity
        return {
            "credit": self.credit,
            "ai_restored": "yes",
            **({"digital_source_type": self.source_type} if self.source_type else {}),
            "model": identity.model,
            "model_digest": identity.weights,
            "date": self.date,
            "tile_size": 256 * identity.scale,
            "orthosharp": json.loads(identity.to_json()),
            "orthosharp_options": self.options,
        }

    def tilejson(self) -> dict[str, Any]:
        """Return TileJSON 3.0.0 for a folder; the tile URLs are relative to the document's own."""
        return {
            "tilejson": "3.0.0",
            "name": self.name,
            "description": self.notice,
            "version": "1.0.0",
            "scheme": "xyz",
            "attribution": self.attribution,
            "tiles": [f"{{z}}/{{x}}/{{y}}.{self.identity.format}"],
            "tileSize": 256,  # for MapLibre, which takes tiles for 512 px ones without it
            "bounds": list(self.bounds),
            "center": list(self.center),
            "minzoom": self.min_zoom,
            "maxzoom": self.max_zoom,
            **self.extras,
        }

    def mbtiles(self) -> dict[str, str]:
        """Return the rows of the `metadata` table of MBTiles 1.3."""
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
        """Return the JSON metadata of PMTiles 3; its header holds bounds and zooms."""
        return {
            "name": self.name,
            "description": self.notice,
            "attribution": self.attribution,
            "type": "baselayer",
            "version": "1.0.0",
            **self.extras,
        }
