"""memory -> store -> single flight -> render -> memory and store. HTTP and the seeder call this, nothing else."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace

from sr_model import PixelWindow
from tileserver.archives.identity import MapIdentity
from tileserver.errors import DamagedError
from tileserver.photo.source import SOURCE_CHANGED, Source
from tileserver.render.layers import LayerRasters
from tileserver.render.pipeline import Pipeline, open_pipeline
from tileserver.render.single_flight import SingleFlight
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.stages import Stages, Wanted, always
from tileserver.tiling.encode import encode
from tileserver.tiling.raster import Raster
from tileserver.tiling.tile import Tile, TileKey, TileRequest

__all__ = ["Tile", "TileRequest", "TileService"]


class TileService:
    """Answers tile requests of one map; safe to call from many threads.

    Args:
        settings: what to serve, and how.
        shared: what it uses together with other maps; its own if not given.

    Raises:
        StartError, sr_model.SrModelError: a photograph, the store, the weights or the limits cannot be served.

    Attributes:
        recipe_digest: of everything that decides the pixels of all layers.
        identity: the same for restored pixels alone, field by field.
        content: what the keys of tiles begin with: `recipe_digest`, or another one where an archive is served from.
    """

    def __init__(self, settings: Settings, shared: Shared | None = None) -> None:
        self.settings = settings
        with ExitStack() as opened:
            self.old = opened.enter_context(closing(Source.of_settings(settings)))
            self.new = _open_later(settings)
            if self.new is not None:
                opened.callback(self.new.close)
            if shared is None:
                shared = opened.enter_context(closing(Shared(settings)))
            self.shared, self.metrics = shared, shared.metrics
            pipeline = opened.enter_context(open_pipeline(self.old, settings, shared.networks))
            self.restorer, self._renderer = pipeline.restorer, pipeline.renderer
            self._flights: SingleFlight[TileKey, Tile] = SingleFlight()
            self.ready = False
            self.recipe_digest = pipeline.recipe_digest(self.new)
            self.identity = _identity(pipeline, self.recipe_digest)
            self.content = shared.bind(self.identity)
            caches = shared.metatiles, self.metrics, self.content, settings.limits
            self.rasters = LayerRasters(self.old, self.new, self._renderer, *caches)
            self._opened = opened.pop_all()

    @property
    def outdated(self) -> str:
        """Why nothing new can be made at the moment; empty where it can."""
        sources = (self.old, self.new)
        return SOURCE_CHANGED if any(source.is_changed for source in sources if source) else ""

    def warm_up(self) -> None:
        """Run the network as metatiles do and fit the tone of overviews, so that no visitor waits for it."""
        self.restorer.warm_up(self._renderer.window_px)
        self.rasters.tone()
        self.ready = True

    def key(self, request: TileRequest) -> TileKey:
        """Check a request and give its cache key, without any pixels.

        Raises:
            OutsideError: no such layer, matrix set, zoom or place.
        """
        self.rasters.view(request.layer, request.tms).pyramid.check(request.tile)
        return TileKey.of(self.content, request)

    def cached(self, request: TileRequest) -> Tile | None:
        """The tile if it is in memory; never waits, and never complains about the request."""
        found = self.shared.tiles.in_memory(TileKey.of(self.content, request))
        return found if found and self.rasters.serves(request.layer, request.tms, request.tile) else None

    def tile(self, request: TileRequest, wanted: Wanted = always) -> Tile:
        """The tile, rendered if need be. Concurrent calls for the same tile share one rendering.

        Args:
            request: what to show.
            wanted: whether the caller still waits; what nobody waits for is dropped before it is inferred.

        Raises:
            OutsideError, OverloadedError, AbandonedError, ReadError, SourceChangedError,
            sr_model.InferenceError.
        """
        key, stages, start = self.key(request), Stages(), time.perf_counter()

        def find_or_render(anybody: Wanted) -> Tile:
            stages.wanted = anybody
            own = key
            try:
                if found := self.shared.tiles.get(key):
                    return found
            except DamagedError:
                # Made as it is without the archive, and called so: no ETag stands for two pictures.
                own = key._replace(content=self.recipe_digest)
            own = own.variant(
                self.rasters.provisional_tone_digest(request.layer, request.tms, request.tile.pixel_zoom)
            )
            return (own != key and self.shared.tiles.in_memory(own)) or self._render(own, request, stages)

        tile = self._flights.do(key, find_or_render, wanted)
        # What no stage accounts for was waiting for another request's work.
        stages.add("queue", max(0.0, time.perf_counter() - start - sum(stages.seconds.values())))
        self.metrics.observe(stages)
        return replace(tile, seconds=stages.seconds)

    def raster(self, layer: str, tms: str, zoom: int, window: PixelWindow) -> Raster:
        """Pixels of any window, for pictures that are no tiles; the same pixels as the tiles'; raises as `tile`."""
        return self.rasters.raster(layer, tms, zoom, window, Stages())

    def close(self) -> None:
        """Let go of the network and close files."""
        self._opened.close()

    def _render(self, key: TileKey, request: TileRequest, stages: Stages) -> Tile:
        tile = request.tile
        raster = self.rasters.raster(request.layer, request.tms, tile.pixel_zoom, tile.window, stages)
        with stages.measure("encode"):
            body = encode(raster, request.extension)
        return replace(self.shared.tiles.put(key, body), hit=False)


def _open_later(settings: Settings) -> Source | None:
    """The later photograph to compare with, if there is one; raises as `Source.open`."""
    if settings.new is None:
        return None
    return Source.open(
        settings.new,
        bands=settings.new_bands,
        rescale=settings.new_rescale,
        open_datasets=settings.open_datasets,
    )


def _identity(pipeline: Pipeline, content: str) -> MapIdentity:
    restorer, info = pipeline.restorer, pipeline.photograph.info
    return MapIdentity(
        content=content,
        seeded_content=pipeline.recipe_digest(),
        source=info.name,
        fingerprint=info.fingerprint,
        model=restorer.spec.name,
        weights=restorer.digest,
        contrast=pipeline.finish.contrast,
        tone=pipeline.finish.tone,
    )
