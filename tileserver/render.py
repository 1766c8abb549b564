"""From a photograph to restored pixels: the only way there is, whoever asks."""

from __future__ import annotations

from typing import Final

from sr_model import ModelSpec, PixelWindow, aligned_window, crop_slices, fill_nodata
from tileserver.batching import NetworkQueue
from tileserver.raster import Raster
from tileserver.stages import Stages
from tileserver.view import View

# Kept of a metatile's halo, so that interpolation for finer zooms knows what lies across the border.
MARGIN_PX: Final = 4


def with_margin(metatile: PixelWindow) -> PixelWindow:
    """The pixels that are kept of a metatile."""
    return PixelWindow(
        metatile.x - MARGIN_PX,
        metatile.y - MARGIN_PX,
        metatile.width + 2 * MARGIN_PX,
        metatile.height + 2 * MARGIN_PX,
    )


def render_metatile(
    view: View, metatile: PixelWindow, spec: ModelSpec, network: NetworkQueue, stages: Stages
) -> Raster:
    """Restore one metatile.

    Args:
        view: the old photograph on the tile grid.
        metatile: window of the native zoom's global pixel grid.
        spec: what the network needs around it.
        network: the network.
        stages: gets the time of reading, waiting and inference.

    Returns:
        Restored pixels of the metatile and its margin, with the photograph's own mask. Where the photograph
        has no pixel, the network is not asked.
    """
    kept = with_margin(metatile)
    outer = aligned_window(metatile, max(spec.halo_px, MARGIN_PX), spec.stride)
    with stages.measure("read"):
        old = view.read(view.pyramid.native_zoom, outer)
        if old.crop(kept).is_empty:
            return Raster.blank(kept)
        filled = fill_nodata(old.rgb, old.mask)
    restored = network.restore(filled, stages)
    rows, columns = crop_slices(outer, kept)
    return Raster(kept, restored[rows, columns].copy(), old.mask[rows, columns].copy()).masked()
