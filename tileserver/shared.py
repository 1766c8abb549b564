"""Metrics, caches, the tile store and the networks: shared by all maps of a process, and kept across reloads."""

from __future__ import annotations

from tileserver.archives.identity import MapIdentity
from tileserver.cache.archive_store import ArchiveTiles
from tileserver.cache.guarded_store import GuardedStore
from tileserver.cache.memory_cache import MemoryCache
from tileserver.cache.object_store import UNDATED, ObjectTiles
from tileserver.cache.open_store import open_store
from tileserver.cache.store import TileStore
from tileserver.cache.tile_cache import TileCache
from tileserver.metrics import Metrics
from tileserver.render.layers import MetatileKey
from tileserver.render.networks import Networks, OpenNetwork, open_here
from tileserver.settings import Settings
from tileserver.tiling.raster import Raster

# Encoded tiles get a quarter of the cache memory: they are small compared with the metatiles they come from.
_TILE_CACHE_DIVISOR = 4


class Shared:
    """Resources shared by all maps of a process.

    Args:
        settings: settings of any of the maps; only those of the whole server are read.
        open_network: opens the networks; see `Networks`.

    Raises:
        SettingsError, ArchiveError: the store's address is invalid, or its archive cannot be read.
    """

    def __init__(self, settings: Settings, open_network: OpenNetwork = open_here) -> None:
        self.metrics = Metrics()
        self.store = _open_store(settings)
        self._guard = None
        # An archive is a local file and needs no timeout; its damaged tiles must reach the service as DamagedError.
        if self.store is not None and not isinstance(self.store, ArchiveTiles):
            self._guard = GuardedStore(self.store, settings.store_timeout_s, self.metrics.count_store_error)
            self.metrics.watch("store_circuit_open", "1 while the store fails", self._guard_is_open)
        tile_bytes = settings.cache_bytes // _TILE_CACHE_DIVISOR
        counters = self.metrics.count_lookup, self.metrics.count_store_error
        self.tiles = TileCache(tile_bytes, self._guard or self.store, *counters)
        self.metatiles: MemoryCache[MetatileKey, Raster] = MemoryCache(
            settings.cache_bytes - tile_bytes, lambda raster: raster.nbytes
        )
        self.networks = Networks(self.metrics, open_network)
        self.metrics.watch("tile_cache_bytes", "Encoded tiles in memory", lambda: self.tiles.nbytes)
        self.metrics.watch("metatile_cache_bytes", "Metatiles in memory", lambda: self.metatiles.nbytes)

    @property
    def has_slow_store(self) -> bool:
        """Whether there is a store that may take its time, unlike an archive on a local disk."""
        return self._guard is not None

    def bind(self, served: MapIdentity) -> str:
        """Register a map with the store.

        Returns:
            The content digest that the map's tile keys begin with.

        Raises:
            ArchiveError: the store is an archive whose tiles are not the map's.
        """
        if isinstance(self.store, ArchiveTiles):
            return self.store.bind(served)
        if isinstance(self.store, ObjectTiles):
            model = f"{served.model} ({served.weights[:12]})"
            about = {"source": served.source, "model": model, "note": "AI-restored", UNDATED: served.undated}
            self.store.describe(served.content, about)
        return served.content

    def close(self) -> None:
        """Close the store. The last map that uses a network closes it."""
        self.tiles.close()

    def _guard_is_open(self) -> bool:
        return self._guard is not None and self._guard.is_open


def _open_store(settings: Settings) -> TileStore | None:
    if settings.store is None:
        return None
    return open_store(settings.store, max_bytes=settings.store_bytes, timeout_s=settings.store_timeout_s)
