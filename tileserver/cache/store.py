"""What keeps encoded tiles longer than a process lives. One small protocol; `opening` chooses among its kinds."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from tileserver.errors import DamagedError
from tileserver.tiling.tile import TileKey

# Behind the picture's end, where every reader of PNG, WebP and JPEG stops looking.
_SEAL_MARK: Final = b"orthosharp1:"
_DIGEST_BYTES: Final = 16


class TileStore(Protocol):
    """Keeps encoded tiles; safe to call from many threads, may be shared with other processes and hosts.

    It may be slow and may fail: whoever calls it for a visitor does so through `GuardedStore`.

    Attributes:
        name: what logs call it; never a path or a secret.
        writable: whether `put` does anything.
    """

    name: str
    writable: bool

    def get(self, key: TileKey) -> bytes | None:
        """The tile's file as it was put, or None.

        Raises:
            StoreError: the store cannot be reached.
            DamagedError: what it holds is not what was put there.
        """

    def put(self, key: TileKey, body: bytes) -> None:
        """Keep a tile; a reader sees all of it or nothing.

        Raises:
            StoreError: the store is full, read-only or cannot be reached.
        """

    def close(self) -> None:
        """Let go of what is open."""


def object_path(key: TileKey) -> str:
    """Where a tile lies in a folder or a bucket. Its first part decides whether it may still be served."""
    scale = "" if key.scale == 1 else f"@{key.scale}x"
    return f"{key.content}/{key.layer}/{key.tms}/{key.z}/{key.x}/{key.y}{scale}.{key.ext}"


def seal(key: TileKey, body: bytes) -> bytes:
    """The file with a digest behind it; stays a valid picture."""
    return body + _SEAL_MARK + _digest(key, body)


def unseal(key: TileKey, data: bytes) -> bytes:
    """The file that `seal` was given.

    Raises:
        DamagedError: a byte is wrong or missing, or it is another tile's.
    """
    end = len(data) - len(_SEAL_MARK) - _DIGEST_BYTES
    body = data[: max(0, end)]
    if end < 0 or data[end:] != _SEAL_MARK + _digest(key, body):
        raise DamagedError("a tile in the store is damaged: it is made again")
    return body


def _digest(key: TileKey, body: bytes) -> bytes:
    return hashlib.blake2b(key.etag.encode() + body, digest_size=_DIGEST_BYTES).digest()
