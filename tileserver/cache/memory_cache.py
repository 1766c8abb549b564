"""Least recently used values in memory, bounded in bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Key, object headers and the cache's own bookkeeping, so that a million empty tiles count as well.
_OVERHEAD_BYTES = 512


class MemoryCache(Generic[K, V]):
    """A thread-safe cache.

    Args:
        max_bytes: bound of all values together; what is larger by itself is not kept.
        size: bytes of one value.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self._values: LRUCache[K, V] = LRUCache(
            max_bytes, getsizeof=lambda value: size(value) + _OVERHEAD_BYTES
        )
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, at the cost of those unused for longest."""
        with self._lock:
            try:
                self._values[key] = value
            except ValueError:  # cachetools: value too large
                self._values.pop(key, None)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        with self._lock:
            return int(self._values.currsize)
