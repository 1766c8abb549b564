"""What made a set of tiles: two sets of the same identity have the same bytes for the same tile."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from tileserver.cache.key import Recipe
from tileserver.encode import Extension

if TYPE_CHECKING:  # a service may look for its tiles in an archive
    from tileserver.service import TileService


@dataclass(frozen=True)
class Identity:
    """Everything that decides the bytes of a set's tiles.

    Attributes:
        content: digest of photograph and recipe; see `content_of`.
        source, fingerprint: the photograph's name, and a digest that changes with its file.
        model, weights: the network's name, and the digest of its weights.
        layer, tms: what the tiles show, and their tile matrix set.
        format, quality, scale: how they are encoded; `quality` is None where a format has none.
    """

    content: str
    source: str
    fingerprint: str
    model: str
    weights: str
    layer: str
    tms: str
    format: Extension
    quality: int | None
    scale: int

    def differences(self, other: Identity) -> list[str]:
        """What the other one has instead, field by field, for people."""
        mine, theirs = asdict(self), asdict(other)
        named = [
            f"{name}: {_short(theirs[name])}, not {_short(mine[name])}"
            for name in mine
            if name != "content" and mine[name] != theirs[name]
        ]
        if named or self.content == other.content:
            return named
        return ["bands, range, runtime or version: the same photograph and weights through another recipe"]

    def to_json(self) -> str:
        """JSON that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        document = json.loads(text)
        names = {item.name for item in fields(cls)}
        if not isinstance(document, dict) or set(document) != names:
            raise ValueError("not written by this version of orthosharp")
        return cls(**document)


def content_of(service: TileService) -> str:
    """Digest of what decides restored pixels. The later photograph of a server's keys has no part in it."""
    old, restorer = service.old.info, service.restorer
    recipe = Recipe(restorer.digest, restorer.runtime, old.bands, old.rescale)
    return hashlib.sha256(f"{old.fingerprint}/{recipe.digest}".encode()).hexdigest()


def _short(value: object) -> str:
    """Digests are told apart by their beginnings."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
