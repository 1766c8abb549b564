"""cache -> single flight -> render -> cache. HTTP calls this and nothing else."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

from sr_model import PixelWindow, Restorer
from tileserver.batching import NetworkQueue
from tileserver.cache import MemoryCache, Recipe, TileKey
from tileserver.encode import MEDIA_TYPES, encode
from tileserver.errors import SourceChangedError
from tileserver.metrics import Metrics
from tileserver.pictures import Pictures
from tileserver.raster import Raster
from tileserver.settings import Settings
from tileserver.single_flight import SingleFlight
from tileserver.source import Source
from tileserver.stages import Stages
from tileserver.tile import Tile, TileRequest

__all__ = ["Tile", "TileRequest", "TileService"]


class TileService:
    """Answers tile requests; safe to call from many threads.

    Raises:
        SourceError, sr_model.SrModelError: a photograph or the weights cannot be served; see `errors`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.old = Source.open(
            settings.source,
            bands=settings.bands,
            rescale=settings.rescale,
            open_datasets=settings.open_datasets,
        )
        self.new = Source.open(settings.new, open_datasets=settings.open_datasets) if settings.new else None
        self.restorer = Restorer.open(settings.weights, runtime=settings.runtime, device=settings.device)
        self.restorer.spec.check_source_gsd(self.old.info.pixel.gsd_m)
        self._network = NetworkQueue(
            self.restorer,
            max_waiting=settings.queue_size,
            deadline_s=settings.deadline_s,
            batch=settings.batch,
        )
        tile_bytes = settings.cache_bytes // 4
        self.pictures = Pictures(
            self.old,
            self.new,
            self.restorer.spec,
            self._network,
            settings.cache_bytes - tile_bytes,
            self.metrics,
        )
        self._tiles: MemoryCache[TileKey, Tile] = MemoryCache(tile_bytes, lambda tile: len(tile.body))
        self._flights: SingleFlight[TileKey, Tile] = SingleFlight()
        self._hits = self.metrics.lookups.labels("tile", "hit")
        self._content = self._content_digest()
        self.ready = False
        self.outdated = ""  # why nothing new can be made any more
        self.metrics.watch("queue_length", "Metatiles that wait for the network", lambda: len(self._network))
        self.metrics.watch("tile_cache_bytes", "Encoded tiles in memory", lambda: self._tiles.nbytes)
        self.metrics.watch(
            "metatile_cache_bytes", "Metatiles in memory", lambda: self.pictures.metatiles.nbytes
        )

    def warm_up(self) -> None:
        """Run the network once and fit the tone of overviews, so that no visitor waits for it."""
        self.pictures.tone()
        self.ready = True

    def key(self, request: TileRequest) -> TileKey:
        """Check a request and give its cache key, without any pixels.

        Raises:
            OutsideError: no such layer, matrix set, zoom or place.
        """
        self.pictures.view(request.layer, request.tms).pyramid.check(request.tile)
        return self._key(request)

    def cached(self, request: TileRequest) -> Tile | None:
        """The tile if it is in memory; never waits, and never complains about the request."""
        found = self._tiles.get(self._key(request))
        if found is not None:
            self._hits.inc()
        return found

    def tile(self, request: TileRequest) -> Tile:
        """The tile, rendered if need be. Concurrent calls for the same tile share one rendering.

        Raises:
            OutsideError, OverloadedError, ReadError, SourceChangedError, sr_model.InferenceError.
        """
        key, stages = self.key(request), Stages()
        start = time.perf_counter()

        def render() -> Tile:
            found = self._tiles.get(key)
            self.metrics.lookups.labels("tile", "miss" if found is None else "hit").inc()
            if found is None:
                tile = request.tile
                raster = self._raster(request.layer, request.tms, tile.pixel_zoom, tile.window, stages)
                with stages.measure("encode"):
                    body = encode(raster, request.extension)
                found = Tile(body, MEDIA_TYPES[request.extension], key.etag, hit=True, stages=Stages())
                self._tiles.put(key, found)
            return found

        tile = self._flights.do(key, render)
        # What no stage accounts for was waiting for another request's work.
        stages.add("queue", max(0.0, time.perf_counter() - start - sum(stages.seconds.values())))
        self.metrics.observe(stages)
        return replace(tile, hit=False, stages=stages)

    def raster(self, layer: str, tms: str, zoom: int, window: PixelWindow) -> Raster:
        """Pixels of any window, for pictures that are no tiles; the same pixels as the tiles'.

        Raises:
            As `tile`.
        """
        return self._raster(layer, tms, zoom, window, Stages())

    def close(self) -> None:
        """Stop the network and close files."""
        self._network.close()
        for source in (self.old, self.new):
            if source is not None:
                source.close()

    def _raster(self, layer: str, tms: str, zoom: int, window: PixelWindow, stages: Stages) -> Raster:
        try:
            return self.pictures.raster(layer, tms, zoom, window, stages)
        except SourceChangedError as error:
            self.outdated = str(error)
            raise

    def _key(self, request: TileRequest) -> TileKey:
        tile = request.tile
        return TileKey(
            self._content, request.layer, request.tms, tile.z, tile.x, tile.y, tile.scale, request.extension
        )

    def _content_digest(self) -> str:
        """Digest of everything that decides pixels, but for the tile itself."""
        old = self.old.info
        recipe = Recipe(self.restorer.digest, self.restorer.runtime, old.bands, old.rescale)
        parts = [old.fingerprint, recipe.digest, self.new.info.fingerprint if self.new else ""]
        return hashlib.sha256("/".join(parts).encode()).hexdigest()
