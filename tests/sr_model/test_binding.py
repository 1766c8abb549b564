import numpy as np
import pytest
import torch

from sr_model import InferenceError, ModelSpec, tensor_binding
from sr_model.binding import REACH_PX, FilterRadii, bind_colours, network_trim_px
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA, normalise

SPEC = ModelSpec.half_scale()
COLOUR, GREY = PhotoContext(), PhotoContext(grey=True)


def ground(side: int = 256, seed: int = 0, tint=(1.0, 0.9, 0.7)) -> np.ndarray:
    """uint8 [side, side, 3]: blocks of many brightnesses in one hue, and grain."""
    random = np.random.default_rng(seed)
    blocks = np.kron(random.uniform(60, 200, (side // 16, side // 16)), np.ones((16, 16)))[..., None]
    return np.clip(blocks * tint + random.normal(0, 3, (side, side, 3)), 0, 255).astype(np.uint8)


def levels(values: np.ndarray) -> np.ndarray:
    """Grey levels [H, W, 3] to a correction [1, 3, H, W]."""
    return np.moveaxis(values / (255 * SPEC.std[0]), -1, 0)[None].astype(np.float32)


def bound(rgb: np.ndarray, change: np.ndarray, photo: PhotoContext = COLOUR, trim_px: int = 0) -> np.ndarray:
    return bind_colours(normalise(rgb[None], SPEC), levels(change), SPEC, [photo], trim_px)[0]


def noise(side: int = 256, deviation: float = 12.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, (side, side, 3))


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(float) @ np.array(LUMA)


def test_a_cast_of_the_network_does_not_reach_the_picture():
    """What it adds everywhere, to luminance or to one band, is not detail."""
    rgb = ground()
    plain = bound(rgb, np.zeros(rgb.shape)).astype(int)
    for cast in ((30, 30, 30), (40, 0, -20)):
        assert np.abs(bound(rgb, np.broadcast_to(cast, rgb.shape)) - plain).max() <= 1


@pytest.mark.parametrize("photo", [COLOUR, GREY, PhotoContext(1.41), PhotoContext(2.83), PhotoContext(3.6)])
def test_a_tile_keeps_the_means_of_the_photograph(photo):
    """So that lower zooms, which are made of the photograph, agree with restored ones."""
    rgb = ground(512)
    if photo.grey:
        rgb = rgb[..., :1].repeat(3, 2)
    change = noise(512) + np.linspace(-20, 40, 512)[:, None, None] * (1.2, 1.0, 0.5)
    drawn = bound(rgb, change, photo).astype(float)
    assert np.abs(drawn - rgb).mean() > 4
    assert np.abs(drawn[128:384, 128:384].mean((0, 1)) - rgb[128:384, 128:384].mean((0, 1))).max() < 0.3
    # The residual's own low-pass is what is taken off, so that nothing of it is left in means over 32 px.
    blocks = (drawn - rgb).reshape(16, 32, 16, 32, 3).mean((1, 3))[2:-2, 2:-2]
    assert np.abs(blocks).max() < 2


def test_edges_of_luminance_are_the_networks():
    rgb = np.full((128, 128, 3), 100, np.uint8)
    edge = np.zeros((128, 128, 3))
    edge[:, 60:64], edge[:, 64:68] = -40, 40
    drawn = bound(rgb, edge)
    assert luma(drawn[64, 61]) < 65
    assert luma(drawn[64, 66]) > 135


def test_mottled_chroma_is_cleaned_and_colours_along_edges_stay():
    rgb = np.full((192, 192, 3), 80.0)
    rgb[:, 96:] = (200, 130, 110)  # a brick roof beside grey ground
    random = np.random.default_rng(3)
    stains = np.kron(random.normal(0, 10, (48, 48)), np.ones((4, 4)))[..., None] * (1, -0.5, 0)
    drawn = bound(np.clip(rgb + stains, 0, 255).astype(np.uint8), np.zeros(rgb.shape)).astype(float)
    chroma = drawn - luma(drawn)[..., None]
    assert (
        chroma[32:-32, 32:80].std((0, 1)).max() < 0.4 * (stains - luma(stains)[..., None]).std((0, 1)).max()
    )
    for x, colour in ((92, rgb[0, 0]), (100, rgb[0, -1])):
        assert np.abs(chroma[32:-32, x].mean(0) - (colour - luma(colour))).max() < 8


def test_a_grey_photograph_has_three_equal_bands():
    """To the bit, whatever the network adds to each band."""
    rgb = ground()[..., :1].repeat(3, 2)
    drawn = bound(rgb, noise() * (1, 2, 3), GREY)
    assert (np.ptp(drawn, axis=2) == 0).all()
    assert drawn.std() > 10


@pytest.mark.parametrize("level", [6, 250])
def test_what_leaves_the_range_of_a_band_leaves_no_tint(level):
    """Neutral stays neutral, and the hue of a colour stays: bands that are clipped alone would turn it."""
    rgb = np.full((128, 128, 3), level, np.uint8)
    hard = np.where((np.indices((128, 128)).sum(0) // 6 % 2)[..., None], 60.0, -60.0) * np.ones(3)
    assert np.ptp(bound(rgb, hard), axis=2).max() <= 1
    tinted = np.clip(rgb + np.array([4, -4, -12]), 0, 255).astype(np.uint8)
    drawn = bound(tinted, hard).astype(float)
    chroma = drawn - luma(drawn)[..., None]
    wanted = (tinted - luma(tinted)[..., None])[0, 0]
    along = (chroma @ wanted) / (wanted @ wanted)
    across = chroma - along[..., None] * wanted
    assert np.abs(across).max() <= 1.5
    assert along.min() > -0.2
    assert along.max() < 1.2


def test_values_that_are_not_finite_make_no_picture():
    for bad in (np.nan, np.inf, -np.inf):
        change = noise()
        change[40, 50, 1] = bad
        with pytest.raises(InferenceError, match="not finite"):
            bound(ground(), change)


@pytest.mark.parametrize("photo", [COLOUR, GREY])
def test_a_trimmed_picture_is_the_middle_of_the_whole_one(photo):
    rgb, change = ground(), noise()
    whole = bound(rgb, change, photo)
    assert (bound(rgb, change, photo, 32) == whole[32:-32, 32:-32]).all()
    # The network itself may have left something out already.
    part = bind_colours(
        normalise(rgb[None], SPEC), levels(change)[..., 16:-16, 16:-16], SPEC, [photo], 16 + REACH_PX
    )
    assert np.abs(part[0].astype(int) - whole[40:-40, 40:-40]).max() <= 1


@pytest.mark.parametrize("ratio", [1.41, 2.0, 2.83, 3.6])
def test_windows_agree_on_the_ground_that_they_share(ratio):
    rgb, change = ground(384), noise(384)
    one = bound(rgb[:256, :256], change[:256, :256], PhotoContext(ratio), REACH_PX)
    other = bound(rgb[40:296, 72:328], change[40:296, 72:328], PhotoContext(ratio), REACH_PX)
    shared = 256 - 2 * REACH_PX
    difference = np.abs(one[40:, 72:].astype(int) - other[: shared - 40, : shared - 72])
    assert difference.max() <= 1
    assert difference.mean() < 0.05


@pytest.mark.parametrize("trim_px", [0, 32])
def test_tensors_and_arrays_give_the_same_picture(trim_px):
    """On the CPU here; tests/sr_model/test_cuda.py does it on a GPU."""
    photos = [COLOUR, GREY, PhotoContext(2.83), COLOUR]
    rgb = np.stack([ground(128, seed) for seed in range(4)])
    planes = normalise(rgb, SPEC)
    change = np.concatenate([levels(noise(128, 40, seed)) for seed in range(4)])[..., 8:-8, 8:-8].copy()
    trim_px += 8
    arrays = bind_colours(planes, change, SPEC, photos, trim_px)
    tensors, finite = tensor_binding.bind_colours(
        torch.from_numpy(planes), torch.from_numpy(change), SPEC, photos, trim_px
    )
    assert bool(finite)
    difference = np.abs(tensors.numpy().astype(int) - arrays)
    assert difference.max() <= 1
    assert difference.mean() < 0.01
    change[1, 2, 3, 4] = np.nan
    assert not bool(
        tensor_binding.bind_colours(
            torch.from_numpy(planes), torch.from_numpy(change), SPEC, photos, trim_px
        )[1]
    )


def test_filters_grow_with_the_photographs_pixels_as_far_as_the_halo_covers_them():
    radii = [FilterRadii.of(SPEC, ratio) for ratio in (1.0, 1.41, 2.0, 2.83, 3.6)]
    assert [sum(r.lowpass) for r in radii] == [3, 3, 4, 6, 6]
    assert [r.guided for r in radii] == [1, 1, 2, 3, 3]


def test_the_network_leaves_out_less_where_colours_need_context():
    assert network_trim_px(SPEC, 48) == 24
    assert network_trim_px(SPEC, 16) == 0
    assert network_trim_px(ModelSpec.compact(), 48) == 48
