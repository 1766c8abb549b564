"""The provenance of a set of tiles: in two sets with the same identity, each tile has the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from tileserver.tiling.encode import Extension, default_quality


class NewerVersionError(ValueError):
    """A newer version wrote it; the message names what it knows."""


@dataclass(frozen=True)
class Identity:
    """Everything that affects the bytes of the tiles in a set.

    Attributes:
        content: content digest of photograph and recipe; see `MapIdentity.seeded_content`.
        source, fingerprint: name and fingerprint of the photograph.
        model, weights: name of the network, and digest of its weights.
        contrast, colours: finish of the restored pixels.
        layer, tms: layer and tile matrix set of the tiles.
        format, quality, scale: encoding of the tiles; `quality` is None for lossless formats.
    """

    content: str
    source: str
    fingerprint: str
    model: str
    weights: str
    contrast: float
    colours: str
    layer: str
    tms: str
    format: Extension
    quality: int | None
    scale: int

    def differences(self, other: Identity) -> list[str]:
        """Describe each field in which `other` differs from this identity, for a message."""
        mine, theirs = asdict(self), asdict(other)
        named = [
            f"{name}: {_short(theirs[name])}, not {_short(mine[name])}"
            for name in mine
            if name != "content" and mine[name] != theirs[name]
        ]
        if named or self.content == other.content:
            return named
        return ["the recipe: bands, range, colours, AI mark or version differ, photograph and weights do not"]

    def to_json(self) -> str:
        """Return the JSON that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """Parse the JSON that `to_json` writes.

        Raises:
            NewerVersionError: it has fields that this version does not know.
            ValueError: the text is not such JSON, or comes from an older version.
        """
        document = json.loads(text)
        names = {item.name for item in fields(cls)}
        if not isinstance(document, dict) or not names <= document.keys():
            raise ValueError("made by an older version of orthosharp, or by another program")
        if document.keys() - names:
            raise NewerVersionError(", ".join(sorted(document.keys() - names)))
        return cls(**document)


@dataclass(frozen=True)
class MapIdentity:
    """Everything that affects the bytes of a served map's restored tiles, except their encoding.

    Attributes:
        content: digest of everything that affects the pixels of any layer.
        seeded_content: the same for restored pixels only, which a later photograph does not affect.
        undated: the same as `content` but for the times of the photographs' files, in which the copies of several
            hosts may differ.
        source, fingerprint: name and fingerprint of the photograph.
        model, weights: name of the network, and digest of its weights.
        contrast, colours: finish of the restored pixels.
    """

    content: str
    seeded_content: str
    undated: str
    source: str
    fingerprint: str
    model: str
    weights: str
    contrast: float
    colours: str

    def of_tiles(
        self, tms: str, extension: Extension, *, quality: int | None = None, scale: int = 1
    ) -> Identity:
        """Return the identity of a set of restored tiles of the map; `quality` defaults to the server's."""
        return Identity(
            content=self.seeded_content,
            source=self.source,
            fingerprint=self.fingerprint,
            model=self.model,
            weights=self.weights,
            contrast=self.contrast,
            colours=self.colours,
            layer="restored",
            tms=tms,
            format=extension,
            quality=quality or default_quality(extension),
            scale=scale,
        )


def identity_of(metadata: dict[str, Any]) -> Identity | None:
    """Read the identity from a set's metadata; None if this version of orthosharp did not make the set."""
    found = metadata.get("orthosharp")
    try:
        return Identity.from_json(found if isinstance(found, str) else json.dumps(found))
    except ValueError:
        return None


def is_of_newer_version(metadata: dict[str, Any]) -> bool:
    """Return whether a newer version of orthosharp made a set of tiles, according to its metadata."""
    found = metadata.get("orthosharp")
    try:
        Identity.from_json(found if isinstance(found, str) else json.dumps(found))
    except NewerVersionError:
        return True
    except ValueError:
        return False
    return False


def _short(value: object) -> str:
    """Shorten digests: their first digits suffice to tell them apart."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
