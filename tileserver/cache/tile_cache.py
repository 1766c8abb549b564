"""memory -> store: where finished tiles are looked for before anything is rendered."""

from __future__ import annotations

from collections.abc import Callable

from tileserver.cache.guarded_store import CountError, GuardedStore
from tileserver.cache.memory_cache import MemoryCache
from tileserver.cache.store import TileStore
from tileserver.errors import DamagedError
from tileserver.tiling.tile import Tile, TileKey

# Told the tier (tile or store) and the result (hit or miss) of a lookup.
CountLookup = Callable[[str, str], None]


class TileCache:
    """Tiles in memory, and behind it a store if there is one.

    Args:
        max_bytes: memory.
        store: what outlives the process, or None; unguarded only where it answers at once.
        count: told of every lookup.
        count_error: told what went wrong with an unguarded store.
    """

    def __init__(
        self,
        max_bytes: int,
        store: GuardedStore | TileStore | None,
        count: CountLookup,
        count_error: CountError,
    ) -> None:
        self._memory: MemoryCache[TileKey, Tile] = MemoryCache(max_bytes, lambda tile: len(tile.body))
        self._store = store
        self._count = count
        self._count_error = count_error

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._memory.nbytes

    def in_memory(self, key: TileKey) -> Tile | None:
        """The tile if it is in memory; never waits. Misses are not counted, since `get` follows them."""
        found = self._memory.get(key)
        if found is not None:
            self._count("tile", "hit")
        return found

    def get(self, key: TileKey) -> Tile | None:
        """The tile out of memory or the store.

        Raises:
            DamagedError: it is in an archive and damaged.
        """
        found = self._memory.get(key)
        self._count("tile", "miss" if found is None else "hit")
        if found is not None or self._store is None:
            return found
        try:
            body = self._store.get(key)
        except DamagedError:
            self._count_error("damaged")
            raise
        self._count("store", "miss" if body is None else "hit")
        return None if body is None else self._keep(key, body)

    def put(self, key: TileKey, body: bytes) -> Tile:
        """Keep a tile in both, and give it as it is answered."""
        if self._store is not None:
            self._store.put(key, body)
        return self._keep(key, body)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _keep(self, key: TileKey, body: bytes) -> Tile:
        tile = Tile.of(key, body)
        self._memory.put(key, tile)
        return tile
