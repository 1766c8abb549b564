"""Two levels of cached tiles, memory and store, which are searched before a tile is rendered."""

from __future__ import annotations

from collections.abc import Callable

from tileserver.cache.guarded_store import CountError, GuardedStore
from tileserver.cache.memory_cache import MemoryCache
from tileserver.cache.store import TileStore
from tileserver.errors import DamagedError
from tileserver.tiling.tile import Tile, TileKey

# Receives the level (tile or store) and the result (hit or miss) of a lookup.
CountLookup = Callable[[str, str], None]


class TileCache:
    """Encoded tiles in memory and, optionally, in a store.

    Args:
        max_bytes: limit of memory.
        store: keeps tiles across restarts, or None; without a guard only if it always responds at once.
        count: receives the result of each lookup.
        count_error: receives the kind of each error of a store without a guard.
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
        """Size of the tiles in memory, in bytes."""
        return self._memory.nbytes

    def in_memory(self, key: TileKey) -> Tile | None:
        """Return the tile if it is in memory; never blocks. Misses are not counted: a call of `get` follows."""
        found = self._memory.get(key)
        if found is not None:
            self._count("tile", "hit")
        return found

    def get(self, key: TileKey) -> Tile | None:
        """Return the tile from memory or the store, or None if neither has it.

        Raises:
            DamagedError: the store is an archive in which the tile is damaged.
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
        """Cache an encoded tile on both levels, and return it as a `Tile`."""
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
