"""Training reads odd files as the server does: the same values, and the same pixels hidden."""

from contextlib import closing

import numpy as np
import pytest
import rasterio
from odd_photos import SIDE, TRANSFORM, town, turned, write
from rasterio.enums import ColorInterp

from sr_model import PixelWindow
from tileserver.photo.source import Source
from training.pairs.photo import Photo
from training.pairs.reading import Reading, resolve

HIGH = town().astype(np.uint16) * 8 + 200


def collar(values, value, where):
    framed = values.copy()
    framed[:, ~where] = value
    return framed


def stray(values):
    """One pixel in two thousand far out of the range of the others."""
    odd = values.copy()
    odd[:, ::45, ::45] = 60_000
    return odd


PHOTOS = {
    "plain": (town(), {}, Reading()),
    "black corners": (collar(town(), 0, turned(20)), {}, Reading()),
    "white margin": (collar(town(), 255, turned(0)), {}, Reading()),
    "white margin, JPEG": (
        collar(town(), 255, turned(0)), {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 75}, Reading()
    ),
    "border left": (collar(town(), 0, turned(20)), {}, Reading(nodata="none")),
    "nodata": (collar(town(), 7, turned(0)), {"nodata": 7}, Reading()),
    "nodata named": (collar(town(), 7, turned(0)), {}, Reading(nodata=7.0)),
    "16 bits": (stray(HIGH), {}, Reading()),
    "16 bits with a border": (collar(HIGH, 0, turned(20)), {}, Reading()),
    "12 bits": (HIGH, {"nbits": 12}, Reading()),
    "range named": (HIGH, {}, Reading(rescale=(300.0, 1500.0))),
    "auto on bytes": (town() // 2 + 20, {}, Reading(rescale="auto")),
    "floats": (HIGH.astype(np.float32) / 7, {}, Reading()),
    "bands named": (town(), {}, Reading(bands=(3, 1, 2))),
    "bands tagged in another order": (
        town(), {"colours": (ColorInterp.blue, ColorInterp.green, ColorInterp.red)}, Reading()
    ),
    "negative": (town()[:1], {"photometric": "miniswhite"}, Reading()),
    "grey of 16 bits": (HIGH[:1], {}, Reading()),
}  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
def test_both_show_the_same(tmp_path, name):
    values, profile, reading = PHOTOS[name]
    path = write(tmp_path / "photo.tif", values, **profile)
    nodata = (reading.nodata,) if isinstance(reading.nodata, float) else reading.nodata or "auto"
    options = {"bands": reading.bands, "rescale": reading.rescale, "nodata": nodata}
    with rasterio.open(path) as source:
        read = resolve(path, source, reading)
    with Photo(path, source.crs, read) as photo:
        rgb, valid = photo.read(TRANSFORM, SIDE)
    with closing(Source.open(str(path), **options)) as served:
        info = served.info
        window = PixelWindow(0, 0, SIDE, SIDE)
        raster = served.read(info.crs, TRANSFORM, window, info.pixel, overviews=False)
    assert info.rescale == read.rescale
    assert info.bands == read.bands
    shown = raster.mask > 0
    apart = valid != shown
    assert not apart.any()
    both = valid & shown
    assert both.mean() > 0.3
    difference = np.abs(rgb.astype(int) - raster.rgb)[both]
    assert difference.max() == 0
