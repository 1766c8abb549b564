"""The half-scale weights that ship with the package, on real ground."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from scipy.ndimage import gaussian_filter

from sr_model import InputError, Restorer, bundled_weights_path
from sr_model.halo import dehalo
from sr_model.photo import PhotoContext
from sr_model.shipped import BUNDLED

DEMO = Path(__file__).parents[2] / "tileserver" / "demo" / "2010.tif"


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    """uint8 [640, 704, 3], on a grid of half the photograph's pixel."""
    with rasterio.open(DEMO) as photo:
        rgb = np.moveaxis(photo.read((1, 2, 3))[:, 300:620, 300:652], 0, -1)
    return np.asarray(Image.fromarray(rgb).resize((704, 640), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module", params=BUNDLED)
def restorer(request: pytest.FixtureRequest) -> Restorer:
    return Restorer.open(bundled_weights_path(request.param), runtime="openvino", trim_px=56)


@pytest.mark.parametrize("ratio", [1.41, 2.0, 2.83])
def test_windows_of_the_same_ground_agree(ground, restorer, ratio):
    photo, halo = PhotoContext(ratio), restorer.spec.halo_px
    assert halo <= 72
    one, other = (restorer.restore(ground[None, y:, x:], photo)[0].astype(int) for y, x in ((0, 0), (40, 72)))
    difference = np.abs(one[40:, 72:] - other)
    assert difference.max() <= 1
    assert difference.mean() < 0.05
    assert np.abs(one - ground[halo:-halo, halo:-halo]).mean() > 1


def test_a_tile_keeps_the_means_of_the_photograph(ground, restorer):
    halo = restorer.spec.halo_px
    change = restorer.restore(ground[None])[0].astype(float) - ground[halo:-halo, halo:-halo]
    for y in range(0, change.shape[0] - 255, 64):
        for x in range(0, change.shape[1] - 255, 64):
            assert np.abs(change[y : y + 256, x : x + 256].mean((0, 1))).max() < 0.5


def test_the_photographs_own_texture_is_part_of_the_weights(restorer):
    spec = restorer.spec
    assert (spec.own_texture, spec.own_texture_in_woods) == (0.1, 0.55)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_grey_photograph_stays_grey(ground, runtime):
    restorer = Restorer.open(bundled_weights_path(), runtime=runtime, device="cpu")
    grey = ground[:256, :256, 1:2].repeat(3, 2)
    colour, black_and_white = restorer.restore(
        np.stack([ground[:256, :256], grey]), [PhotoContext(), PhotoContext(grey=True)]
    )
    assert (np.ptp(black_and_white, axis=2) == 0).all()
    assert np.ptp(colour, axis=2).mean() > 5


def test_each_window_needs_its_photograph(ground, restorer):
    with pytest.raises(InputError, match="2 windows, but 1 photographs"):
        restorer.restore(np.stack([ground[:256, :256]] * 2), [PhotoContext()])


def test_halos_are_undone_before_the_network(ground, restorer):
    halos = PhotoContext(halo_amount=0.6, halo_radius_px=1.2)
    undone = dehalo(ground[:320, :320], 0.6, 2.4)
    assert (restorer.restore(ground[None, :320, :320], halos) == restorer.restore(undone[None])).all()
    one, other = (restorer.restore(ground[None, y:, x:], halos)[0].astype(int) for y, x in ((0, 0), (40, 72)))
    assert np.abs(one[40:, 72:] - other).max() <= 1
    assert np.abs(one[40:, 72:] - other).mean() < 0.05


def test_smooth_ground_shows_no_checkerboard(restorer):
    """Cells of 2, 4 and 8 px may not be seen, and what is drawn may not depend on where they lie."""
    y, x = np.mgrid[:376, :376]
    random = np.random.default_rng(5)
    grain = gaussian_filter(random.normal(0, 1, y.shape), 1) * 8
    smooth = np.stack([100 + 0.15 * x + grain, 110 + 0.1 * y + grain, 85 + 0.05 * x + grain], -1)
    rgb = (smooth + 0.5).astype(np.uint8)
    drawn = restorer.restore(rgb[None, :368, :368])[0].astype(float)
    change = (drawn - rgb[56:312, 56:312]).mean(-1)
    phases = change.reshape(32, 8, 32, 8).mean((0, 2))
    assert phases.std() < 0.4
    for shift in range(1, 8):
        moved = restorer.restore(np.ascontiguousarray(rgb[None, shift : shift + 368, shift : shift + 368]))[0]
        difference = (moved[:-shift, :-shift] - drawn[shift:, shift:]).mean(-1)
        assert np.sqrt((difference**2).mean()) < 0.75
