"""What all maps of a process use together: metrics, caches, the store and the networks. It outlives a reload."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sr_model import Restorer, Weights, bundled_weights_path, load_weights
from tileserver.batching import NetworkQueue
from tileserver.cache.archive_store import ArchiveTiles
from tileserver.cache.guarded_store import GuardedStore
from tileserver.cache.memory_cache import MemoryCache
from tileserver.cache.object_store import ObjectTiles
from tileserver.cache.open_store import open_store
from tileserver.cache.store import TileStore
from tileserver.cache.tile_cache import TileCache
from tileserver.metrics import Metrics
from tileserver.pictures import MetatileKey
from tileserver.render import trim_px
from tileserver.settings import Settings
from tileserver.tiling.raster import Raster

if TYPE_CHECKING:
    from tileserver.service import TileService

# Encoded tiles are small beside the pixels they come from.
_SHARE_OF_TILES = 4


@dataclass(eq=False)
class Network:
    """A network with its queue, for as long as a map uses it."""

    restorer: Restorer
    queue: NetworkQueue
    users: int = 0


class Networks:
    """One network per weights and device, however many maps use it."""

    def __init__(self, metrics: Metrics) -> None:
        self._running: dict[tuple[str, ...], Network] = {}
        self._lock = threading.Lock()
        metrics.watch("queue_length", "Metatiles that wait for a network", self._waiting)

    def lease(self, settings: Settings, source_gsd_m: float) -> Network:
        """The network that the settings name, running already or opened; give it back with `release`.

        Args:
            settings: name weights, runtime and device.
            source_gsd_m: metres per pixel of what is to be restored.

        Raises:
            sr_model.SrModelError: the weights do not verify or are not for such pixels, or the device is missing.
        """
        weights = load_weights(settings.weights or bundled_weights_path())
        weights.spec.check_source_gsd(source_gsd_m)  # before seconds are spent on opening what is of no use
        key = (weights.digest, settings.runtime, settings.device)
        with self._lock:
            if key not in self._running:
                self._running[key] = _open_network(weights, settings)
            network = self._running[key]
            network.users += 1
            return network

    def release(self, network: Network) -> None:
        """Let go of a leased network; the last map closes it."""
        with self._lock:
            network.users -= 1
            if network.users:
                return
            self._running = {key: found for key, found in self._running.items() if found is not network}
        network.queue.close()

    def _waiting(self) -> float:
        # Without the lock, which is held for seconds while a network is opened.
        return sum(len(network.queue) for network in list(self._running.values()))


class Shared:
    """Opens what the settings of the server ask for.

    Args:
        settings: those of any map; what is read of them is the server's, the same for all.

    Raises:
        SettingsError, ArchiveError: the store's address makes no sense.
    """

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.store = _open_store(settings)
        self._guard = None
        # An archive is a file at hand: it needs no timeout, and the service has a word in what is damaged.
        if self.store is not None and not isinstance(self.store, ArchiveTiles):
            self._guard = GuardedStore(self.store, settings.store_timeout_s, self.metrics.count_store_error)
            self.metrics.watch("store_left_alone", "1 while the store fails", self._guard_is_open)
        tile_bytes = settings.cache_bytes // _SHARE_OF_TILES
        counters = self.metrics.count_lookup, self.metrics.count_store_error
        self.tiles = TileCache(tile_bytes, self._guard or self.store, *counters)
        self.metatiles: MemoryCache[MetatileKey, Raster] = MemoryCache(
            settings.cache_bytes - tile_bytes, lambda raster: raster.nbytes
        )
        self.networks = Networks(self.metrics)
        self.metrics.watch("tile_cache_bytes", "Encoded tiles in memory", lambda: self.tiles.nbytes)
        self.metrics.watch("metatile_cache_bytes", "Metatiles in memory", lambda: self.metatiles.nbytes)

    def bind(self, service: TileService) -> str:
        """Make a map known to the store.

        Returns:
            The content digest that the map's keys begin with.

        Raises:
            ArchiveError: the store is an archive of other tiles than the map's.
        """
        if isinstance(self.store, ArchiveTiles):
            return self.store.bind(service)
        content = service.recipe_digest
        if isinstance(self.store, ObjectTiles):
            model = f"{service.restorer.spec.name} ({service.restorer.digest[:12]})"
            source = service.old.info.name
            self.store.describe(content, {"source": source, "model": model, "note": "AI-restored"})
        return content

    def close(self) -> None:
        """Close the store. The networks are closed by the maps that use them."""
        self.tiles.close()

    def _guard_is_open(self) -> bool:
        return self._guard is not None and self._guard.is_open


def _open_store(settings: Settings) -> TileStore | None:
    if settings.store is None:
        return None
    return open_store(settings.store, max_bytes=settings.store_bytes, timeout_s=settings.store_timeout_s)


def open_restorer(weights: Weights, settings: Settings) -> Restorer:
    """A network for a `Renderer`; raises as `Restorer.from_weights`."""
    trim = trim_px(weights.spec)
    return Restorer.from_weights(weights, runtime=settings.runtime, device=settings.device, trim_px=trim)


def _open_network(weights: Weights, settings: Settings) -> Network:
    restorer = open_restorer(weights, settings)
    queue = NetworkQueue(
        restorer,
        max_waiting=settings.queue_size,
        deadline_s=settings.deadline_s,
        batch=settings.batch,
        callers=restorer.callers,
    )
    return Network(restorer, queue)
