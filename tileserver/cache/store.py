"""The protocol of tile stores, which keep encoded tiles across restarts; see `open_store` for the kinds."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from tileserver.errors import DamagedError
from tileserver.tiling.tile import TileKey

# Appended to the image, where readers of PNG, WebP and JPEG ignore it.
_SEAL_MARK: Final = b"orthosharp1:"
_DIGEST_BYTES: Final = 16


class TileStore(Protocol):
    """Stores encoded tiles. Thread-safe; may be shared with other processes and hosts.

    A store may be slow and may fail: requests use it through `GuardedStore`.

    Attributes:
        name: name for log messages; never a path or a secret.
        writable: whether `put` stores anything.
    """

    name: str
    writable: bool

    def get(self, key: TileKey) -> bytes | None:
        """Return the tile as it was stored, or None if there is none.

        Raises:
            StoreError: the store cannot be reached.
            DamagedError: the stored tile differs from what was written.
        """

    def put(self, key: TileKey, body: bytes) -> None:
        """Store a tile atomically.

        Raises:
            StoreError: the store is full, read-only or cannot be reached.
        """

    def close(self) -> None:
        """Release all resources."""


def object_path(key: TileKey) -> str:
    """Return the path of a tile in a folder or bucket; it begins with the content digest."""
    scale = "" if key.scale == 1 else f"@{key.scale}x"
    return f"{key.content}/{key.layer}/{key.tms}/{key.z}/{key.x}/{key.y}{scale}.{key.ext}"


def seal(key: TileKey, body: bytes) -> bytes:
    """Append a digest to an encoded tile; the result is still a valid image."""
    return body + _SEAL_MARK + _digest(key, body)


def unseal(key: TileKey, data: bytes) -> bytes:
    """Verify and remove the digest that `seal` appended.

    Raises:
        DamagedError: a byte is wrong or missing, or the data belong to another tile.
    """
    end = len(data) - len(_SEAL_MARK) - _DIGEST_BYTES
    body = data[: max(0, end)]
    if end < 0 or data[end:] != _SEAL_MARK + _digest(key, body):
        raise DamagedError("a tile in the store is damaged: it is rendered again")
    return body


def _digest(key: TileKey, body: bytes) -> bytes:
    return hashlib.blake2b(key.digest.encode() + body, digest_size=_DIGEST_BYTES).digest()
