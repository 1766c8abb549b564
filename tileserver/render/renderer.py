"""From a photograph to restored pixels: the only way there is, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sr_model import ModelSpec, PixelWindow, aligned_window, crop_slices, fill_nodata
from tileserver.photo.view import View
from tileserver.render.finish import BLOCK_PX, Finish
from tileserver.render.network_queue import NetworkQueue
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX
from tileserver.tiling.raster import Raster

# Kept of a metatile's halo, so that interpolation for finer zooms knows what lies across the border.
MARGIN_PX: Final = 4


@dataclass(frozen=True)
class Renderer:
    """A network and how its pictures are finished.

    Attributes:
        spec: what the network needs around a window.
        network: the network, trimmed by `trim_px`.
        finish: what is done to its pictures.
    """

    spec: ModelSpec
    network: NetworkQueue
    finish: Finish

    @property
    def window_px(self) -> int:
        """Side of the window that the network sees of every metatile."""
        return self._outer(with_margin(PixelWindow(0, 0, METATILE_PX, METATILE_PX)), self._halo_px).width

    def restore(self, view: View, kept: PixelWindow, halo_px: int, stages: Stages) -> tuple[Raster, Raster]:
        """Old and restored pixels of a window of the native zoom's grid.

        Where the photograph has no pixel, the network is not asked, and both are blank.

        Args:
            view: the old photograph on the tile grid.
            kept: the wanted pixels.
            halo_px: what is read around them at least.
            stages: gets the time of reading, waiting and inference.
        """
        outer = self._outer(kept, halo_px)
        inner = outer.grown(-trim_px(self.spec))
        with stages.measure("read"):
            old = view.read(view.pyramid.native_zoom, outer)
            if old.crop(kept).is_empty:
                return Raster.blank(kept), Raster.blank(kept)
            filled = fill_nodata(old.rgb, old.mask)
        restored = self.network.restore(filled, stages)
        finished = self.finish.apply(filled[crop_slices(outer, inner)], restored)
        mask = old.mask[crop_slices(outer, kept)].copy()
        return old.crop(kept), Raster(kept, finished[crop_slices(inner, kept)].copy(), mask).masked()

    def metatile(self, view: View, metatile: PixelWindow, stages: Stages) -> Raster:
        """Restore one metatile.

        Args:
            view: the old photograph on the tile grid.
            metatile: window of the native zoom's global pixel grid.
            stages: gets the time of reading, waiting and inference.

        Returns:
            Restored pixels of the metatile and its margin, with the photograph's own mask.
        """
        return self.restore(view, with_margin(metatile), self._halo_px, stages)[1]

    @property
    def _halo_px(self) -> int:
        # The margin lies within the halo: it needs no context of its own, being looked at by interpolation only.
        return max(self.spec.halo_px - MARGIN_PX, 0)

    def _outer(self, kept: PixelWindow, halo_px: int) -> PixelWindow:
        halo_px = max(halo_px, trim_px(self.spec) + self.finish.reach_px)
        return aligned_window(kept, halo_px, max(self.spec.stride, BLOCK_PX))


def trim_px(spec: ModelSpec) -> int:
    """How much of each side of a window is context that nobody looks at: what networks that serve are to leave out."""
    return max(spec.halo_px - MARGIN_PX, 0) // spec.stride * spec.stride


def with_margin(metatile: PixelWindow) -> PixelWindow:
    """The pixels that are kept of a metatile."""
    return metatile.grown(MARGIN_PX)
