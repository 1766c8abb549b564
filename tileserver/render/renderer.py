"""Restore windows of a photograph: the one code path that server, seeder and `restore` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sr_model import ModelSpec, PhotoContext, PixelWindow, aligned_window, crop_slices, dehalo, fill_nodata
from sr_model.colour_map import luma
from sr_model.halo import support_px
from tileserver.photo.view import View
from tileserver.render.appearance import Appearance
from tileserver.render.finish import BLOCK_PX
from tileserver.render.network_queue import WindowQueue
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX
from tileserver.tiling.raster import Raster

# Narrower than this, in pixels of a zoom, an unsharp mask does not show.
_NARROWEST_MASK_PX: Final = 0.25
# Part of the halo that is kept around a metatile, so that interpolation to finer zooms can read across its border.
MARGIN_PX: Final = 4


@dataclass(frozen=True)
class Renderer:
    """A network, and the adjustments to its output.

    Attributes:
        spec: stride and halo of the network.
        network: the network, whose output is trimmed by `trim_px`.
        appearance: scale and colours of restored pixels.
    """

    spec: ModelSpec
    network: WindowQueue
    appearance: Appearance

    @property
    def window_px(self) -> int:
        """Side of the network's input window for a metatile, in pixels."""
        return self._outer(with_margin(PixelWindow(0, 0, METATILE_PX, METATILE_PX)), self._halo_px).width

    def restore(self, view: View, kept: PixelWindow, halo_px: int, stages: Stages) -> tuple[Raster, Raster]:
        """Restore a window of the native zoom.

        A window without any data is not passed to the network.

        Args:
            view: the old photograph on a tile matrix set.
            kept: the window to return.
            halo_px: smallest context to read around `kept`, in pixels.
            stages: receives the time spent reading, waiting and in the network.

        Returns:
            The old and the restored pixels of `kept`; both blank if it contains no data.

        Raises:
            ReadError, SourceChangedError: see `Source.read`.
            OverloadedError, AbandonedError, sr_model.InferenceError: see `NetworkQueue.restore`.
        """
        outer = self._outer(kept, halo_px)
        inner = outer.grown(-trim_px(self.spec))
        with stages.measure("read"):
            old = view.read(view.pyramid.native_zoom, outer)
            if old.crop(kept).is_empty:
                return Raster.blank(kept), Raster.blank(kept)
            filled = fill_nodata(old.rgb, old.mask)
        restored = self.network.restore(filled, stages, self._context(view))
        finished = self.appearance.finish.apply(filled[crop_slices(outer, inner)], restored)
        mask = old.mask[crop_slices(outer, kept)].copy()
        return old.crop(kept), Raster(kept, finished[crop_slices(inner, kept)].copy(), mask).masked()

    def metatile(self, view: View, metatile: PixelWindow, stages: Stages) -> Raster:
        """Restore one metatile; raises as `restore`.

        Args:
            view: the old photograph on a tile matrix set.
            metatile: window of the native zoom's global pixel grid.
            stages: receives the time spent reading, waiting and in the network.

        Returns:
            Restored pixels of the metatile and its margin, with the photograph's mask.
        """
        return self.restore(view, with_margin(metatile), self._halo_px, stages)[1]

    def read_overview(self, view: View, zoom: int, window: PixelWindow) -> Raster:
        """Read a window of a zoom below the restored ones, without what these no longer have.

        That is the unsharp mask, and of a black and white photograph the grey level by which its bands may differ.

        Args:
            view: the old photograph on a tile matrix set.
            zoom: of the pixel grid.
            window: the window to return.

        Raises:
            ReadError, SourceChangedError: see `Source.read`.
        """
        old = self._without_halo(view, zoom, window)
        if not self.appearance.grey or len(view.source.bands) == 1:
            return old
        return Raster(window, luma(old.rgb)[..., None].repeat(3, axis=2), old.mask)

    def _without_halo(self, view: View, zoom: int, window: PixelWindow) -> Raster:
        amount, _ = self.appearance.halo
        sigma_px = self.appearance.halo_sigma_m / view.pixel(zoom).gsd_m
        if not amount or sigma_px < _NARROWEST_MASK_PX:
            return view.read(zoom, window)
        outer = window.grown(support_px(amount, sigma_px))
        old = view.read(zoom, outer)
        undone = dehalo(fill_nodata(old.rgb, old.mask), amount, sigma_px)
        return Raster(outer, undone, old.mask).crop(window).masked()

    def _context(self, view: View) -> PhotoContext:
        return self.appearance.context(self.spec, view.pixel(view.pyramid.native_zoom).gsd_m)

    @property
    def _halo_px(self) -> int:
        # The margin is part of the halo and has less context than the metatile: only interpolation reads it.
        return max(self.spec.halo_px - MARGIN_PX, 0)

    def _outer(self, kept: PixelWindow, halo_px: int) -> PixelWindow:
        halo_px = max(halo_px, trim_px(self.spec) + self.appearance.finish.reach_px)
        return aligned_window(kept, halo_px, max(self.spec.stride, BLOCK_PX))


def trim_px(spec: ModelSpec) -> int:
    """Return how many pixels the network may omit on each side of its output, because they are context only."""
    return max(spec.halo_px - MARGIN_PX, 0) // spec.stride * spec.stride


def with_margin(metatile: PixelWindow) -> PixelWindow:
    """Return a metatile's window grown by MARGIN_PX on each side."""
    return metatile.grown(MARGIN_PX)
