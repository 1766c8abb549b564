"""Training reads odd files as the server does: the same values, and the same pixels hidden."""

from contextlib import closing

import numpy as np
import pytest
import rasterio
from odd_photos import SIDE, TRANSFORM, town, turned, write
from rasterio.enums import ColorInterp
from scipy.ndimage import gaussian_filter
from training_data import write_photo

from sr_model import PixelWindow
from tileserver.photo.source import Source
from training.data.manifest import read_site
from training.fit.config import FitConfig
from training.fit.kinds import untrained_spec
from training.pairs.make import make_pairs
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


def soft_pair(folder):
    """Streets with roofs at 0.5 m, and at 1 m as a scan shows them that is finer than its film."""
    size = 768
    random = np.random.default_rng(3)
    ground = np.full((size, size), 90.0)
    for _ in range(130):
        y, x, h, w = (*random.integers(0, size, 2), *random.integers(24, 70, 2))
        ground[y : y + h, x : x + w] = random.uniform(40, 220)
    film = gaussian_filter(ground, 5).reshape(size // 2, 2, size // 2, 2).mean((1, 3))
    # Grain, without which flat roofs would pass for ground that is not shown.
    grainy = [picture + random.normal(0, 2, picture.shape) for picture in (film, ground)]
    shown = [np.repeat(picture[..., None], 3, 2).clip(0, 255).astype(np.uint8) for picture in grainy]
    place = (500_000.0, 5_600_000.0)
    return (
        write_photo(folder / "old.tif", shown[0], 1.0, place, "EPSG:25832"),
        write_photo(folder / "new.tif", shown[1], 0.5, place, "EPSG:25832"),
    )


def test_pairs_count_what_the_old_photo_resolves_as_the_server_does(tmp_path):
    old, new = soft_pair(tmp_path)
    make_pairs(old, new, tmp_path / "pairs", size_px=160, max_shift_m=4.0, min_confidence=0.0)
    site = read_site(tmp_path / "pairs")
    with closing(Source.open(str(old))) as source:
        resolved_px = source.traits.resolved_px
    assert resolved_px > 1.5
    assert site["old_gsd_m"] == pytest.approx(1, rel=1e-3)
    assert site["resolved_gsd_m"] == pytest.approx(resolved_px, rel=0.1)
    config = FitConfig(
        pairs=(str(tmp_path / "pairs"),), architecture="half_scale", colours="photo", gsd_m=0.0
    )
    assert untrained_spec(config).ratio == pytest.approx(2 * resolved_px, rel=0.1)
