"""The pixels of each layer at each zoom, from metatiles, photographs and overviews."""

from __future__ import annotations

import math
import threading
from typing import Protocol

from sr_model import PixelWindow, ToneMap
from sr_model.colour_map import ColourMap
from tileserver.errors import OutsideError, SettingsError
from tileserver.metrics import Metrics
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.colours import FittedTone, fit_tone
from tileserver.render.renderer import MARGIN_PX, Renderer, with_margin
from tileserver.render.single_flight import SingleFlight
from tileserver.stages import Stages, Wanted
from tileserver.tiling.grid import NO_LIMITS, Limits, TileAddress, at_zoom
from tileserver.tiling.layer import LAYERS, WEB_MERCATOR, Layer, supported_tms
from tileserver.tiling.raster import Raster, area_average, canvas, difference, paste, upsample

# Content digest, tile matrix set, window of the native zoom.
MetatileKey = tuple[str, str, PixelWindow]


class MetatileCache(Protocol):
    """A bounded cache of restored metatiles."""

    def get(self, key: MetatileKey, /) -> Raster | None:
        """Return the metatile, or None if it is not cached."""

    def put(self, key: MetatileKey, raster: Raster, /) -> None:
        """Cache a metatile."""


class LayerRasters:
    """Renders windows of any layer as rasters.

    Args:
        old: the photograph to restore.
        new: a later photograph to compare with, or None.
        renderer: restores the old photograph.
        metatiles: cache of restored metatiles, which other maps may share.
        metrics: counts inferences and cache lookups.
        content: content digest of everything that affects pixels.
        limits: which tiles are served; bounds in degrees, zooms of Web Mercator.
        deadline_s: longest wait for what another request makes, in seconds.

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
        *,
        deadline_s: float,
    ) -> None:
        self._old = old
        self._new = new
        self._renderer = renderer
        self._metrics = metrics
        self._tms = supported_tms()
        self._views: dict[tuple[str, bool], View] = {}
        self._views_lock = threading.Lock()
        self._tone: FittedTone | None = None
        self._tone_flights: SingleFlight[str, FittedTone] = SingleFlight(deadline_s)
        self._metatiles = metatiles
        self._content = content
        self._scale = renderer.appearance.scale
        self._limits = limits
        self._flights: SingleFlight[MetatileKey, Raster] = SingleFlight(deadline_s)
        if limits != NO_LIMITS:
            try:
                self.view("old", WEB_MERCATOR)
            except OutsideError as error:
                raise SettingsError(f"{old.info.name}: {error}") from error

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are served; `new` only with a later photograph."""
        return tuple(layer for layer in LAYERS if layer != "new" or self._new)

    def view(self, layer: str, tms: str) -> View:
        """Return the layer's photograph on a tile matrix set.

        Raises:
            OutsideError: the layer or the set does not exist, or the set does not cover the photograph.
        """
        if layer not in self.layers:
            raise OutsideError(f"unknown layer {layer!r}: use one of {', '.join(self.layers)}")
        if tms not in self._tms.list():
            raise OutsideError(
                f"unknown tile matrix set {tms!r}: /tileMatrixSets lists those that are served"
            )
        source = self._new if layer == "new" and self._new else self._old
        key = (tms, source is self._new)
        with self._views_lock:
            if key not in self._views:
                self._views[key] = self._open_view(source, tms)
            return self._views[key]

    def serves(self, layer: str, tms: str, tile: TileAddress) -> bool:
        """Return whether a tile is within the limits, which a cached tile need not be."""
        return self._limits == NO_LIMITS or self.view(layer, tms).pyramid.serves(tile)

    def raster(self, layer: str, tms: str, zoom: int, window: PixelWindow, stages: Stages) -> Raster:
        """Render a window of a zoom's global pixel grid.

        Args:
            layer: name of the layer.
            tms: identifier of the tile matrix set.
            zoom: zoom of the pixel grid.
            window: the window to render.
            stages: receives the time spent in each stage.

        Raises:
            OutsideError: the layer or the tile matrix set does not exist.
            ReadError: a block of the photograph cannot be read.
            SourceChangedError: the photograph was replaced.
            OverloadedError, AbandonedError, sr_model.InferenceError: see `NetworkQueue.restore`.
        """
        view = self.view(layer, tms)
        if layer in ("old", "new"):
            with stages.measure("read"):
                return view.read(zoom, window)
        if zoom < view.pyramid.min_metatile_zoom:
            return self._from_overviews(layer, view, zoom, window, stages)
        result = canvas(window)
        for metatile, part in view.pyramid.pieces(zoom, window):
            native = self._metatile(view, metatile, stages)
            if layer == "difference" and not native.is_empty:
                native = self._change(view, native, stages)
            with stages.measure("encode"):
                restored = _resample(native, part, zoom - view.pyramid.native_zoom)
            if part == window:
                return restored
            paste(result, restored)
        return result

    def needed_metatile(self, layer: str, tms: str, zoom: int, window: PixelWindow) -> MetatileKey | None:
        """Return the first metatile that the network has to restore for a window.

        Returns:
            The metatile, or None if the window needs none, or those that it needs are cached or without data.

        Raises:
            OutsideError: the layer or the tile matrix set does not exist.
        """
        view = self.view(layer, tms)
        if layer in ("old", "new") or zoom < view.pyramid.min_metatile_zoom:
            return None
        for metatile, _ in view.pyramid.pieces(zoom, window):
            key = self._key(view, metatile)
            if self._metatiles.get(key) is None and view.pyramid.touches(view.pyramid.native_zoom, metatile):
                return key
        return None

    def _key(self, view: View, metatile: PixelWindow) -> MetatileKey:
        return self._content, view.pyramid.grid.tms_id, metatile

    def _open_view(self, source: Source, tms: str) -> View:
        view = View.of_tms(source, self._tms.get(tms), self._scale)
        if self._limits != NO_LIMITS:
            mercator = View.of_tms(source, self._tms.get(WEB_MERCATOR), self._scale)
            view.limit(self._limits, mercator.pyramid.native_zoom)
        return view

    @property
    def _keeps_colours(self) -> bool:
        """Whether restored pixels keep the photograph's means, so that its overviews stand for them."""
        return self._renderer.spec.colours == "photo"

    def warm_up(self) -> None:
        """Fit the tone map, if the network translates colours, so that no client waits for it; raises as `tone`."""
        if not self._keeps_colours:
            self.tone()

    def tone(self) -> FittedTone:
        """Return the photograph's tone map, fitting it at the first call.

        Raises:
            OverloadedError: another call fits it, and the deadline has passed.
            ReadError, sr_model.InferenceError: as `fit_tone`.
        """

        def fit(_: Wanted) -> FittedTone:
            if self._tone is None:
                self._tone = fit_tone(self.view("old", WEB_MERCATOR), self._renderer)
            return self._tone

        return self._tone or self._tone_flights.do("tone", fit)

    def provisional_tone_digest(self, layer: str, tms: str, zoom: int) -> str:
        """Return the tone map's digest if the layer's pixels at this zoom use a provisional one, else "".

        A tone map fitted without one of its samples does not follow from the photograph: the block that cannot be
        read now may be readable later. So its digest becomes part of the tile's key.

        Raises:
            OutsideError, ReadError, OverloadedError, sr_model.InferenceError: as `raster`.
        """
        if layer in ("old", "new") or self._keeps_colours:
            return ""
        if layer != "difference" and zoom >= self.view(layer, tms).pyramid.min_metatile_zoom:
            return ""
        tone = self.tone()
        return tone.tone_map.digest if tone.is_provisional else ""

    def _from_overviews(
        self, layer: str, view: View, zoom: int, window: PixelWindow, stages: Stages
    ) -> Raster:
        """Render restored pixels, or their difference, by mapping the colours of the photograph's overviews."""
        colour_map = self._colour_map(stages)
        with stages.measure("read"):
            old = self._renderer.read_overview(view, zoom, window)
        with stages.measure("encode"):
            mapped = Raster(window, colour_map.apply(old.rgb), old.mask).masked()
            # The photograph's one map of colours is not the network's doing.
            return difference(mapped, mapped) if layer == "difference" else mapped

    def _colour_map(self, stages: Stages) -> ColourMap | ToneMap:
        """Return what the restoration does to the colours of the photograph as a whole."""
        if self._keeps_colours:
            return self._renderer.appearance.finish.colour_map
        with stages.measure("infer"):
            return self.tone().tone_map

    def _change(self, view: View, native: Raster, stages: Stages) -> Raster:
        """Return what the network added to a metatile that the photograph does not support."""
        colour_map, zoom = self._colour_map(stages), view.pyramid.native_zoom
        with stages.measure("read"):
            old = view.read(zoom, native.window)
        mapped = Raster(old.window, colour_map.apply(old.rgb), old.mask).masked()
        octaves = math.log2(view.source.info.pixel.gsd_m / view.pixel(zoom).gsd_m)
        # A metatile's margin is a whole number of the photograph's pixels.
        factor = 1 << min(max(round(octaves), 0), MARGIN_PX.bit_length() - 1)
        return difference(mapped, native, factor)

    def _metatile(self, view: View, metatile: PixelWindow, stages: Stages) -> Raster:
        """Return a restored metatile from the cache, from a concurrent request, or from the network."""
        key = self._key(view, metatile)
        found = self._metatiles.get(key)
        self._metrics.count_lookup("metatile", "miss" if found is None else "hit")
        if found is not None:
            return found
        if not view.pyramid.touches(view.pyramid.native_zoom, metatile):
            return Raster.blank(with_margin(metatile))

        def render(wanted: Wanted) -> Raster:
            stages.wanted = wanted
            # Another request may have finished this metatile since the lookup above.
            raster = self._metatiles.get(key)
            if raster is None:
                raster = self._renderer.metatile(view, metatile, stages)
                if not raster.is_empty:
                    self._metrics.inferences.inc()
                self._metatiles.put(key, raster)
            return raster

        return self._flights.do(key, render, stages.wanted)


def _resample(native: Raster, part: PixelWindow, zooms: int) -> Raster:
    """Resample `part`, a window of a grid `zooms` levels finer (negative: coarser) than the native one."""
    if zooms > 0:
        return upsample(native, part, 1 << zooms)
    return area_average(native.crop(at_zoom(part, -zooms)), 1 << -zooms)
