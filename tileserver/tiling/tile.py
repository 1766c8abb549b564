"""One tile: what is asked for, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tileserver.stages import Stages
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress

if TYPE_CHECKING:  # the key's recipe needs to know every module that makes pixels
    from tileserver.cache.key import TileKey


@dataclass(frozen=True)
class TileRequest:
    """One tile of one layer, and the format it is wanted in."""

    layer: str
    tms: str
    tile: TileAddress
    extension: Extension


@dataclass(frozen=True)
class Tile:
    """An encoded tile.

    Attributes:
        body: the file; empty where a format without transparency has nothing to show.
        media_type: its type.
        etag: strong entity tag, with quotes.
        hit: whether it came out of a cache.
        stages: where the time went.
    """

    body: bytes
    media_type: str
    etag: str
    hit: bool
    stages: Stages = field(default_factory=Stages)

    @classmethod
    def of(cls, key: TileKey, body: bytes) -> Tile:
        """A finished tile, as caches keep it."""
        return cls(body, MEDIA_TYPES[key.ext], key.etag, hit=True)
