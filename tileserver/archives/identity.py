"""What made a set of tiles: two sets of the same identity have the same bytes for the same tile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from tileserver.tiling.encode import Extension, default_quality


@dataclass(frozen=True)
class Identity:
    """Everything that decides the bytes of a set's tiles.

    Attributes:
        content: digest of photograph and recipe; see `MapIdentity.seeded_content`.
        source, fingerprint: the photograph's name, and a digest that changes with its file.
        model, weights: the network's name, and the digest of its weights.
        contrast, tone: how restored pixels were finished.
        layer, tms: what the tiles show, and their tile matrix set.
        format, quality, scale: how they are encoded; `quality` is None where a format has none.
    """

    content: str
    source: str
    fingerprint: str
    model: str
    weights: str
    contrast: float
    tone: str
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


@dataclass(frozen=True)
class MapIdentity:
    """Everything that decides the bytes of a served map's restored tiles, but for their encoding.

    Attributes:
        content: digest of everything that decides the pixels of all layers.
        seeded_content: the same for restored pixels alone, in which a later photograph has no part.
        source, fingerprint: the photograph's name, and a digest that changes with its file.
        model, weights: the network's name, and the digest of its weights.
        contrast, tone: how restored pixels are finished.
    """

    content: str
    seeded_content: str
    source: str
    fingerprint: str
    model: str
    weights: str
    contrast: float
    tone: str

    def of_tiles(
        self, tms: str, extension: Extension, *, quality: int | None = None, scale: int = 1
    ) -> Identity:
        """Identity of a set of the map's restored tiles; without `quality` in that of the server."""
        return Identity(
            content=self.seeded_content,
            source=self.source,
            fingerprint=self.fingerprint,
            model=self.model,
            weights=self.weights,
            contrast=self.contrast,
            tone=self.tone,
            layer="restored",
            tms=tms,
            format=extension,
            quality=quality or default_quality(extension),
            scale=scale,
        )


def identity_of(metadata: dict[str, Any]) -> Identity | None:
    """What made a set of tiles, out of its metadata; None where this version of orthosharp did not."""
    found = metadata.get("orthosharp")
    try:
        return Identity.from_json(found if isinstance(found, str) else json.dumps(found))
    except ValueError:
        return None


def _short(value: object) -> str:
    """Digests are told apart by their beginnings."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
