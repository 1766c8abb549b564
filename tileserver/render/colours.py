"""Fit the tone map, which gives overviews the restored colours at zooms further out than metatiles reach."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

import numpy as np

from sr_model import PixelWindow, ToneMap
from tileserver.errors import ReadError
from tileserver.photo.view import View
from tileserver.render.renderer import Renderer
from tileserver.stages import Stages
from tileserver.tiling.grid import LEVELS_BELOW
from tileserver.tiling.raster import area_average

logger = logging.getLogger("orthosharp")

# Samples lie on a regular grid over the photograph, so that every process fits the same tone map.
SAMPLES_PER_SIDE: Final = 4
SAMPLE_PX: Final = 256
# A photograph of ground has a larger standard deviation (of area averages, in grey levels) than this.
_MIN_DEVIATION: Final = 2.0


def sample_windows(view: View) -> list[PixelWindow]:
    """Return windows of the native zoom at the centres of a 4 x 4 division of the photograph."""
    pyramid = view.pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    # Aligned to multiples of the factor that `fit_tone` averages by.
    step = 1 << (LEVELS_BELOW + 1)
    centres = [(2 * part + 1) / (2 * SAMPLES_PER_SIDE) for part in range(SAMPLES_PER_SIDE)]
    corners = [
        (
            int(extent.x + across * extent.width - SAMPLE_PX / 2) // step * step,
            int(extent.y + down * extent.height - SAMPLE_PX / 2) // step * step,
        )
        for down in centres
        for across in centres
    ]
    return [PixelWindow(x, y, SAMPLE_PX, SAMPLE_PX) for x, y in dict.fromkeys(corners)]


class FittedTone(NamedTuple):
    """The tone map of a photograph.

    Attributes:
        tone_map: maps old to restored colours.
        is_provisional: whether a sample could not be read, so that another process may fit another tone map.
    """

    tone_map: ToneMap
    is_provisional: bool


def fit_tone(view: View, renderer: Renderer) -> FittedTone:
    """Restore samples of the photograph, and fit a tone map from old to restored colours to their area averages.

    Args:
        view: the old photograph on Web Mercator.
        renderer: restores the samples, one small window each.

    Raises:
        ReadError: no sample can be read.
    """
    factor = 1 << (LEVELS_BELOW + 1)
    old_colours, restored_colours = [], []
    windows, damaged = sample_windows(view), 0
    for window in windows:
        try:
            pair = renderer.restore(view, window, renderer.spec.halo_px, Stages())
        except ReadError as error:
            # One damaged block must not prevent the map from being served.
            damaged += 1
            logger.warning("a sample of the photograph cannot be read: %s", error)
            if damaged == len(windows):
                raise
            continue
        before, after = (area_average(raster, factor) for raster in pair)
        valid = before.mask != 0
        old_colours.append(before.rgb[valid])
        restored_colours.append(after.rgb[valid])
    if not sum(map(len, old_colours)):
        # All data lie between the samples: fall back to the identity.
        logger.warning("none of %d samples of the photograph contains data: is it empty?", len(windows))
        ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)
        return FittedTone(ToneMap.fit(ramp, ramp), bool(damaged))
    old = np.concatenate(old_colours)
    if float(old.std(axis=0).max()) < _MIN_DEVIATION:
        logger.warning(
            "the photograph is almost uniformly grey: if it should not be, name the values that become black and "
            "white with --rescale MIN,MAX"
        )
    return FittedTone(ToneMap.fit(old, np.concatenate(restored_colours)), bool(damaged))
