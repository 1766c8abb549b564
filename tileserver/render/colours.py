"""The tone of the restored picture, for zooms that no metatile reaches."""

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

# Samples lie on a grid over the photograph, so that every process fits the same map.
SAMPLES_PER_SIDE: Final = 4
SAMPLE_PX: Final = 256
# Less deviation between area averages than this is no photograph of ground.
_FEWEST_GREYS: Final = 2.0


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


class Tone(NamedTuple):
    """A photograph's tone.

    Attributes:
        colours: the map old -> restored.
        whole: whether every sample was read. If not, another process, or this one tomorrow, may fit another map.
    """

    colours: ToneMap
    whole: bool


def fit_tone(view: View, renderer: Renderer) -> Tone:
    """Restore samples of the photograph and fit one colour map old -> restored to their area averages.

    Args:
        view: the old photograph on Web Mercator.
        renderer: restores it; sees one small window per sample.

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
            # One bad block costs its own tiles, not the map.
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
        # Data lie between the samples only: the identity is the least wrong.
        logger.warning("none of %d samples of the photograph shows anything: is it empty?", len(windows))
        ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)
        return Tone(ToneMap.fit(ramp, ramp), not damaged)
    old = np.concatenate(old_colours)
    if float(old.std(axis=0).max()) < _FEWEST_GREYS:
        logger.warning(
            "the photograph is nearly of one shade: if that is not so, name the values that are black and white "
            "with --rescale MIN,MAX"
        )
    return Tone(ToneMap.fit(old, np.concatenate(restored_colours)), not damaged)
