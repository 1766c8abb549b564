"""The tone of the restored picture, for zooms that no metatile reaches."""

from __future__ import annotations

from typing import Final

import numpy as np

from sr_model import PixelWindow, ToneMap
from tileserver.grid import LEVELS_BELOW
from tileserver.raster import area_average
from tileserver.render import Renderer
from tileserver.stages import Stages
from tileserver.view import View

# Samples lie on a grid over the photograph, so that every process fits the same map.
SAMPLES_PER_SIDE: Final = 4
SAMPLE_PX: Final = 256


def sample_windows(view: View) -> list[PixelWindow]:
    """Windows of the native zoom, in the middles of a 4 x 4 division of the photograph."""
    pyramid = view.pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    # Multiples of this keep the averages below on whole pixels.
    step = 1 << (LEVELS_BELOW + 1)
    places = [(2 * part + 1) / (2 * SAMPLES_PER_SIDE) for part in range(SAMPLES_PER_SIDE)]
    corners = [
        (
            int(extent.x + across * extent.width - SAMPLE_PX / 2) // step * step,
            int(extent.y + down * extent.height - SAMPLE_PX / 2) // step * step,
        )
        for down in places
        for across in places
    ]
    return [PixelWindow(x, y, SAMPLE_PX, SAMPLE_PX) for x, y in dict.fromkeys(corners)]


def fit_tone(view: View, renderer: Renderer) -> ToneMap:
    """Restore samples of the photograph and fit one colour map old -> restored to their area averages.

    Args:
        view: the old photograph on Web Mercator.
        renderer: restores it; sees one small window per sample.
    """
    factor = 1 << (LEVELS_BELOW + 1)
    old_colours, restored_colours = [], []
    for window in sample_windows(view):
        pair = renderer.restore(view, window, renderer.spec.halo_px, Stages())
        before, after = (area_average(raster, factor) for raster in pair)
        valid = before.mask != 0
        old_colours.append(before.rgb[valid])
        restored_colours.append(after.rgb[valid])
    if not sum(map(len, old_colours)):
        # Data lie between the samples only: the identity is the least wrong.
        ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)
        return ToneMap.fit(ramp, ramp)
    return ToneMap.fit(np.concatenate(old_colours), np.concatenate(restored_colours))
