"""The tiles of one map: looked up in memory and store, else rendered once and cached. Used by HTTP and the seeder."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace

from sr_model import ModelSpec, PixelWindow, load_weights, resampling, weights_path
from tileserver.archives.identity import MapIdentity
from tileserver.errors import AbandonedError, DamagedError, OverloadedError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.source import SOURCE_CHANGED, Source
from tileserver.render.appearance import Appearance, choose_appearance
from tileserver.render.layers import LayerRasters, MetatileKey
from tileserver.render.pipeline import open_pipeline
from tileserver.render.recipe import Recipe, mark_of
from tileserver.render.single_flight import SingleFlight
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.stages import Stages, Wanted, always
from tileserver.tiling.encode import encode
from tileserver.tiling.layer import AI_LAYERS
from tileserver.tiling.raster import Raster
from tileserver.tiling.tile import Tile, TileKey, TileRequest

__all__ = ["Tile", "TileRequest", "TileService"]


class TileService:
    """Makes the tiles of one map; safe to call from many threads.

    Args:
        settings: what to serve, and how.
        shared: caches, store and networks shared with other maps; the service opens its own if None.
        photograph: the old photograph, if it is open already; the service closes it, also where it cannot be made.

    Raises:
        StartError, sr_model.SrModelError: a photograph, the store, the weights or the limits cannot be served.

    Attributes:
        recipe_digest: digest of everything that affects the pixels of any layer.
        identity: what made the restored tiles, field by field; archives store it.
        content: content digest that tile keys begin with: `recipe_digest`, or another one if tiles are served from
            an archive.
        metatile_s: seconds that the network takes for a metatile, about; 0 before it was warmed up.
    """

    def __init__(
        self, settings: Settings, shared: Shared | None = None, *, photograph: Source | None = None
    ) -> None:
        self.settings = settings
        with ExitStack() as opened:
            self.old = opened.enter_context(closing(photograph or Source.of_settings(settings)))
            self.new = _open_later(settings)
            if self.new is not None:
                opened.callback(self.new.close)
            if shared is None:
                shared = opened.enter_context(closing(Shared(settings)))
            self.shared, self.metrics = shared, shared.metrics
            pipeline = opened.enter_context(open_pipeline(self.old, settings, shared.networks))
            self.restorer, self._renderer = pipeline.restorer, pipeline.renderer
            self._mark = pipeline.mark
            self._flights: SingleFlight[TileKey, Tile] = SingleFlight(settings.deadline_s)
            self.ready = False
            self.metatile_s = 0.0
            made_by = self.restorer.spec, self.restorer.digest, pipeline.appearance
            self.identity = _identity(settings, self.old, self.new, *made_by)
            self.recipe_digest = self.identity.content
            self.content = shared.bind(self.identity)
            caches = shared.metatiles, self.metrics, self.content, settings.limits
            self.rasters = LayerRasters(
                self.old, self.new, self._renderer, *caches, deadline_s=settings.deadline_s
            )
            self._opened = opened.pop_all()

    @property
    def appearance(self) -> Appearance:
        """Scale and colours of restored pixels."""
        return self._renderer.appearance

    @property
    def outdated(self) -> str:
        """Why no new tile can be rendered at the moment; empty if tiles can be rendered."""
        sources = (self.old, self.new)
        return SOURCE_CHANGED if any(source.is_changed for source in sources if source) else ""

    def mark(self, layer: str) -> bytes:
        """Return the XMP that a layer's pictures carry; empty for none."""
        return self._mark if layer in AI_LAYERS else b""

    def warm_up(self) -> None:
        """Load kernel and network, and fit the tone map, so that the first request does not wait for any of them."""
        resampling.warm_up()
        self.metatile_s = self.restorer.warm_up(self._renderer.window_px)
        self.rasters.warm_up()
        self.ready = True

    def key(self, request: TileRequest) -> TileKey:
        """Check a request, and return its cache key without rendering anything.

        Raises:
            OutsideError: the layer, tile matrix set, zoom or place does not exist.
        """
        self.rasters.view(request.layer, request.tms).pyramid.check(request.tile)
        return TileKey.of(self.content, request)

    def cached(self, request: TileRequest) -> Tile | None:
        """Return the tile if it is in memory and served, else None. Never waits, and raises no RequestError."""
        found = self.shared.tiles.in_memory(TileKey.of(self.content, request))
        return found if found and self.rasters.serves(request.layer, request.tms, request.tile) else None

    def needed_metatile(self, request: TileRequest) -> MetatileKey | None:
        """Return the metatile that the network has to restore for a tile; None if it needs none, or it is in memory.

        Raises:
            OutsideError: the layer or the tile matrix set does not exist.
        """
        tile = request.tile
        return self.rasters.needed_metatile(request.layer, request.tms, tile.pixel_zoom, tile.window)

    def stored(self, request: TileRequest) -> Tile | None:
        """Return a tile from memory or the store, or None if neither has it; never renders."""
        return self.shared.tiles.get(self.key(request))

    def tile(self, request: TileRequest, wanted: Wanted = always, *, is_searched: bool = False) -> Tile:
        """Return a tile, rendering it if it is not cached. Concurrent calls for the same tile share one rendering.

        Args:
            request: layer, tile matrix set, address and format.
            wanted: returns whether the caller still waits; a tile that no caller waits for is dropped before it
                reaches the network.
            is_searched: whether `stored` has just found nothing, so that the store is not asked again.

        Raises:
            OutsideError: the layer, tile matrix set, zoom or place does not exist.
            OverloadedError: a queue is full, or a deadline has passed.
            AbandonedError: no caller waits any more.
            ReadError, SourceChangedError: the photograph cannot be read, or was replaced.
            sr_model.InferenceError: the network failed.
        """
        key, stages, start = self.key(request), Stages(), time.perf_counter()

        def find_or_render(any_wanted: Wanted) -> Tile:
            stages.wanted = any_wanted
            rendered_key = key
            try:
                tiles = self.shared.tiles
                if found := tiles.in_memory(key) if is_searched else tiles.get(key):
                    return found
            except DamagedError:
                # Rendered with the key of a server without the archive: one ETag must not stand for two images.
                rendered_key = key._replace(content=self.recipe_digest)
            rendered_key = rendered_key.variant(
                self.rasters.provisional_tone_digest(request.layer, request.tms, request.tile.pixel_zoom)
            )
            if rendered_key != key and (found := self.shared.tiles.in_memory(rendered_key)):
                return found
            return self._render(rendered_key, request, stages)

        tile = self._flights.do(key, find_or_render, wanted)
        # Time outside all stages was spent waiting for another request that rendered the same tile.
        stages.add("queue", max(0.0, time.perf_counter() - start - sum(stages.seconds.values())))
        self.metrics.observe(stages)
        return replace(tile, seconds=stages.seconds)

    def raster(self, layer: str, tms: str, zoom: int, window: PixelWindow) -> Raster:
        """Return the pixels of any window, equal to those of the tiles that cover it; raises as `tile`."""
        return self.rasters.raster(layer, tms, zoom, window, Stages())

    def picture(self, layer: str, tms: str, zoom: int, window: PixelWindow) -> Raster:
        """Return the pixels of any window for a request that does not wait longer than for a tile.

        Raises:
            OverloadedError: as `tile`, or some of its metatiles were not begun within the deadline.
        """
        deadline = time.monotonic() + self.settings.deadline_s
        stages = Stages(lambda: time.monotonic() < deadline)
        try:
            return self.rasters.raster(layer, tms, zoom, window, stages)
        except AbandonedError as error:
            limit_s = self.settings.deadline_s
            raise OverloadedError(f"the picture was not ready within {limit_s:g} s: try again", 5) from error

    def close(self) -> None:
        """Release the network and close the photographs."""
        self._opened.close()

    def _render(self, key: TileKey, request: TileRequest, stages: Stages) -> Tile:
        tile = request.tile
        raster = self.rasters.raster(request.layer, request.tms, tile.pixel_zoom, tile.window, stages)
        with stages.measure("encode"):
            body = encode(raster, request.extension, packet=self.mark(request.layer))
        return replace(self.shared.tiles.put(key, body), hit=False)


def _open_later(settings: Settings) -> Source | None:
    """Open the later photograph to compare with, if any; raises as `Source.open`."""
    if settings.new is None:
        return None
    return Source.open(
        settings.new,
        bands=settings.new_bands,
        rescale=settings.new_rescale,
        nodata=settings.new_nodata,
        exclude=settings.exclude,
        open_datasets=settings.open_datasets,
        placing=Placing.of_settings(settings, later=True),
    )


def identify(settings: Settings) -> MapIdentity:
    """Return what a map's tiles are made from, without opening the network, whose device this host may lack.

    Raises:
        StartError, sr_model.SrModelError: as `TileService`, apart from the network and the store.
    """
    with ExitStack() as opened:
        old = opened.enter_context(closing(Source.of_settings(settings)))
        new = _open_later(settings)
        if new is not None:
            opened.callback(new.close)
        weights = load_weights(weights_path(settings.weights))
        appearance = choose_appearance(weights.spec, old, settings)
        return _identity(settings, old, new, weights.spec, weights.digest, appearance)


def _identity(
    settings: Settings, old: Source, new: Source | None, spec: ModelSpec, weights: str, appearance: Appearance
) -> MapIdentity:
    shown = [source for source in (old, new) if source]
    mark = mark_of(settings, spec, weights)
    return MapIdentity(
        content=Recipe.of(weights, shown, appearance, mark=mark).digest,
        seeded_content=Recipe.of(weights, [old], appearance, mark=mark).digest,
        undated=Recipe.of(weights, shown, appearance, mark=mark, dated=False).digest,
        source=old.info.name,
        fingerprint=old.info.fingerprint,
        model=spec.name,
        weights=weights,
        contrast=appearance.finish.total_contrast,
        colours=settings.colours,
    )
