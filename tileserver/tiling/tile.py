"""One tile: what is asked for, its cache key, and what is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress


@dataclass(frozen=True)
class TileRequest:
    """One tile of one layer, and the format it is wanted in."""

    layer: str
    tms: str
    tile: TileAddress
    extension: Extension


class TileKey(NamedTuple):
    """Key of an encoded tile.

    Attributes:
        content: digest of the photographs' fingerprints and of the recipe.
        layer, tms, z, x, y, scale, ext: which tile, and as what.
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
        """Key of what a request asks for."""
        tile = request.tile
        return cls(content, request.layer, request.tms, tile.z, tile.x, tile.y, tile.scale, request.extension)

    def variant(self, mark: str) -> TileKey:
        """Key of the same tile with other pixels than its content promises; itself where the mark is empty."""
        if not mark:
            return self
        return self._replace(content=hashlib.sha256(f"{self.content}/{mark}".encode()).hexdigest())

    @property
    def etag(self) -> str:
        """Strong entity tag. It needs no pixels, so a revalidation never costs an inference."""
        parts = "/".join(map(str, self))
        return f'"{hashlib.sha256(parts.encode()).hexdigest()[:32]}"'


@dataclass(frozen=True)
class Tile:
    """An encoded tile.

    Attributes:
        body: the file; empty where a format without transparency has nothing to show.
        media_type: its type.
        etag: strong entity tag, with quotes.
        hit: whether it came out of a cache.
        seconds: time that each stage of the pipeline took, by the stage's name.
    """

    body: bytes
    media_type: str
    etag: str
    hit: bool
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, key: TileKey, body: bytes) -> Tile:
        """A finished tile, as caches keep it."""
        return cls(body, MEDIA_TYPES[key.ext], key.etag, hit=True)
