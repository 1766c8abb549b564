"""Pixels of every layer at every zoom, out of metatiles, photographs and overviews."""

from __future__ import annotations

import threading
from typing import Protocol

from sr_model import PixelWindow
from tileserver.errors import OutsideError, SettingsError
from tileserver.metrics import Metrics
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.colours import Tone, fit_tone
from tileserver.render.renderer import Renderer, with_margin
from tileserver.render.single_flight import SingleFlight
from tileserver.stages import Stages, Wanted
from tileserver.tiling.grid import NO_LIMITS, Limits, TileAddress, at_zoom
from tileserver.tiling.layer import LAYERS, WEB_MERCATOR, Layer, supported_tms
from tileserver.tiling.raster import Raster, area_average, canvas, difference, paste, upsample

# Content digest, tile matrix set, window.
MetatileKey = tuple[str, str, PixelWindow]


class MetatileCache(Protocol):
    """Where restored metatiles are kept for a while."""

    def get(self, key: MetatileKey, /) -> Raster | None:
        """The metatile, or None where it is not there any more."""

    def put(self, key: MetatileKey, raster: Raster, /) -> None:
        """Keep a metatile as long as there is room."""


class LayerRasters:
    """Pixels of windows of any layer.

    Args:
        old: the photograph to restore.
        new: a later photograph to compare with, or None.
        renderer: restores it.
        metatiles: keeps restored metatiles, those of other maps too.
        metrics: counts inferences and cache lookups.
        content: digest of everything that decides pixels.
        limits: which tiles are served: bounds in degrees, zooms of Web Mercator.

    Raises:
        SettingsError: the limits leave nothing of the photograph.
    """

    def __init__(
        self,
        old: Source,
        new: Source | None,
        renderer: Renderer,
        metatiles: MetatileCache,
        metrics: Metrics,
        content: str,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._old = old
        self._new = new
        self._renderer = renderer
        self._metrics = metrics
        self._tms = supported_tms()
        self._views: dict[tuple[str, bool], View] = {}
        self._views_lock = threading.Lock()
        self._tone: Tone | None = None
        self._tone_lock = threading.Lock()
        self._metatiles = metatiles
        self._content = content
        self._limits = limits
        self._flights: SingleFlight[MetatileKey, Raster] = SingleFlight()
        if limits != NO_LIMITS:
            try:
                self.view("old", WEB_MERCATOR)
            except OutsideError as error:
                raise SettingsError(f"{old.info.name}: {error}") from error

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers that are served."""
        return tuple(layer for layer in LAYERS if layer != "new" or self._new)

    def view(self, layer: str, tms: str) -> View:
        """The layer's photograph on a tile matrix set.

        Raises:
            OutsideError: no such layer or set, or the set does not cover the photograph.
        """
        if layer not in self.layers:
            raise OutsideError(f"there is no layer {layer!r}: use one of {', '.join(self.layers)}")
        if tms not in self._tms.list():
            raise OutsideError(f"there is no tile matrix set {tms!r}: see /tileMatrixSets")
        source = self._new if layer == "new" and self._new else self._old
        key = (tms, source is self._new)
        with self._views_lock:
            if key not in self._views:
                self._views[key] = self._open_view(source, tms)
            return self._views[key]

    def serves(self, layer: str, tms: str, tile: TileAddress) -> bool:
        """Whether a tile that may be in a cache is within the limits; the cache knows none."""
        return self._limits == NO_LIMITS or self.view(layer, tms).pyramid.serves(tile)

    def raster(self, layer: str, tms: str, zoom: int, window: PixelWindow, stages: Stages) -> Raster:
        """Pixels of a window of a zoom's global grid.

        Raises:
            OutsideError: no such layer or tile matrix set.
            ReadError, OverloadedError, sr_model.InferenceError: as the pipeline raises them.
        """
        view = self.view(layer, tms)
        if layer in ("old", "new"):
            with stages.measure("read"):
                return view.read(zoom, window)
        if zoom < view.pyramid.min_metatile_zoom:
            return self._toned(layer, view, zoom, window, stages)
        result = canvas(window)
        for metatile, part in view.pyramid.pieces(zoom, window):
            native = self._metatile(view, metatile, stages)
            with stages.measure("encode"):
                restored = _resample(native, part, zoom - view.pyramid.native_zoom)
            if layer == "difference" and not restored.is_empty:
                restored = difference(self._seen(view, metatile, part, zoom, stages), restored)
            if part == window:
                return restored
            paste(result, restored)
        return result

    def _open_view(self, source: Source, tms: str) -> View:
        view = View(source, self._tms.get(tms), self._renderer.spec.gsd_m)
        if self._limits != NO_LIMITS:
            mercator = View(source, self._tms.get(WEB_MERCATOR), self._renderer.spec.gsd_m)
            view.limit(self._limits, mercator.pyramid.native_zoom)
        return view

    def tone(self) -> Tone:
        """The one colour map old -> restored of this photograph; fitted at the first call."""
        with self._tone_lock:
            if self._tone is None:
                self._tone = fit_tone(self.view("old", WEB_MERCATOR), self._renderer)
            return self._tone

    def provisional_tone_digest(self, layer: str, tms: str, zoom: int) -> str:
        """Digest of the tone that a picture shows, where that is not the photograph's own; else empty.

        A tone that lacks a sample is no property of the photograph: a block that cannot be read may be there again.

        Raises:
            OutsideError, ReadError, OverloadedError, sr_model.InferenceError: as `raster`.
        """
        if layer in ("old", "new") or zoom >= self.view(layer, tms).pyramid.min_metatile_zoom:
            return ""
        tone = self.tone()
        return "" if tone.whole else tone.colours.digest

    def _toned(self, layer: str, view: View, zoom: int, window: PixelWindow, stages: Stages) -> Raster:
        with stages.measure("infer"):
            colours = self.tone().colours
        with stages.measure("read"):
            old = view.read(zoom, window)
        with stages.measure("encode"):
            toned = Raster(window, colours.apply(old.rgb), old.mask).masked()
            return difference(old, toned) if layer == "difference" else toned

    def _seen(
        self, view: View, metatile: PixelWindow, part: PixelWindow, zoom: int, stages: Stages
    ) -> Raster:
        """What the network saw, resampled as its answer is, so that the difference is the network's alone."""
        with stages.measure("read"):
            old = view.read(view.pyramid.native_zoom, with_margin(metatile))
        return _resample(old, part, zoom - view.pyramid.native_zoom)

    def _metatile(self, view: View, metatile: PixelWindow, stages: Stages) -> Raster:
        """Restored pixels of a metatile: from the cache, a request that is faster, or the network."""
        key = (self._content, view.pyramid.grid.tms_id, metatile)
        found = self._metatiles.get(key)
        self._metrics.count_lookup("metatile", "miss" if found is None else "hit")
        if found is not None:
            return found
        if not view.pyramid.touches(view.pyramid.native_zoom, metatile):
            return Raster.blank(with_margin(metatile))

        def render(wanted: Wanted) -> Raster:
            stages.wanted = wanted
            # Whoever was faster may have landed between the lookup above and this flight.
            raster = self._metatiles.get(key)
            if raster is None:
                raster = self._renderer.metatile(view, metatile, stages)
                if not raster.is_empty:
                    self._metrics.inferences.inc()
                self._metatiles.put(key, raster)
            return raster

        return self._flights.do(key, render, stages.wanted)


def _resample(native: Raster, part: PixelWindow, zooms: int) -> Raster:
    """The part, in a grid that is `zooms` finer (or, negative, coarser) than `native`'s."""
    if zooms > 0:
        return upsample(native, part, 1 << zooms)
    return area_average(native.crop(at_zoom(part, -zooms)), 1 << -zooms)
