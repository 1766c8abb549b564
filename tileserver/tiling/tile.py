"""One tile: the request, its cache key, and the encoded result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress


@dataclass(frozen=True)
class TileRequest:
    """A tile of one layer in one format."""

    layer: str
    tms: str
    tile: TileAddress
    extension: Extension


class TileKey(NamedTuple):
    """Cache key of an encoded tile.

    Attributes:
        content: content digest: photographs, weights and recipe, see `tileserver.render.recipe`.
        layer, tms, z, x, y, scale, ext: layer, tile matrix set, address and format.
    """

    content: str
    layer: str
    tms: str
    z: int
    x: int
    y: int
    scale: int
    ext: Extension

    @classmethod
    def of(cls, content: str, request: TileRequest) -> TileKey:
        """Return the key of a requested tile."""
        tile = request.tile
        return cls(content, request.layer, request.tms, tile.z, tile.x, tile.y, tile.scale, request.extension)

    def variant(self, mark: str) -> TileKey:
        """Return the key of the same tile when its pixels differ from what `content` stands for.

        Args:
            mark: identifies the difference; the key itself is returned if it is empty.
        """
        if not mark:
            return self
        return self._replace(content=hashlib.sha256(f"{self.content}/{mark}".encode()).hexdigest())

    @property
    def digest(self) -> str:
        """32 hex digits; entity tags begin with them, so that revalidation needs neither the tile nor the network."""
        return hashlib.sha256("/".join(map(str, self)).encode()).hexdigest()[:32]

    def etag(self, body: bytes) -> str:
        """Return the strong entity tag of these bytes: hosts that round pixels differently give them other tags."""
        return f'"{self.digest}-{hashlib.blake2b(body, digest_size=8).hexdigest()}"'


@dataclass(frozen=True)
class Tile:
    """An encoded tile.

    Attributes:
        body: the encoded file; empty if no pixel has data and the format has no transparency.
        media_type: media type of `body`.
        etag: strong entity tag, with quotes.
        hit: whether it came from a cache.
        seconds: time spent in each stage of the pipeline, by stage name.
    """

    body: bytes
    media_type: str
    etag: str
    hit: bool
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, key: TileKey, body: bytes) -> Tile:
        """Return a tile found in a cache."""
        return cls(body, MEDIA_TYPES[key.ext], key.etag(body), hit=True)
