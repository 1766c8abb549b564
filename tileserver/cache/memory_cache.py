"""A least-recently-used cache in memory, with a limit in bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Memory of key, object headers and the cache's bookkeeping: a million empty tiles take memory as well.
_OVERHEAD_BYTES = 512


class MemoryCache(Generic[K, V]):
    """A thread-safe LRU cache.

    Args:
        max_bytes: limit of all values together; a single value that exceeds it is not cached.
        size: returns the bytes of a value.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self._values: LRUCache[K, V] = LRUCache(
            max_bytes, getsizeof=lambda value: size(value) + _OVERHEAD_BYTES
        )
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return the value, or None if it is not cached."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Cache a value; the least recently used ones are dropped to make room."""
        with self._lock:
            try:
                self._values[key] = value
            except ValueError:  # cachetools: value too large
                self._values.pop(key, None)

    @property
    def nbytes(self) -> int:
        """Size of all values, in bytes."""
        with self._lock:
            return int(self._values.currsize)
