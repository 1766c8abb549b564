"""The share of its own texture that a photograph keeps, on ground that was made for it."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sr_model import ModelSpec, tensor_binding
from sr_model.binding import bind_colours
from sr_model.boxes import block_means
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA, normalise
from sr_model.texture import TextureRadii, own_texture_share

PLAIN = ModelSpec.half_scale()
SPEC = dataclasses.replace(PLAIN, own_texture=0.15, own_texture_in_woods=0.5)
GREY = PhotoContext(grey=True)
RATIOS = (1.41, 2.0, 2.83, 3.6)


def woods(side: int = 384, ratio: float = 2.0, seed: int = 0) -> np.ndarray:
    """float [side, side]: texture as coarse as two of the photograph's pixels, without direction."""
    grain = gaussian_filter(np.random.default_rng(seed).normal(0, 1, (side, side)), ratio)
    return 90 + 22 * grain / grain.std()


def roofs(side: int = 384, slope: float = 0.3) -> np.ndarray:
    """float [side, side]: rows of long houses, turned a little, as soft as an enlarged photograph."""
    y, x = np.mgrid[:side, :side].astype(float)
    across = (y + slope * x) / np.hypot(1, slope)
    return gaussian_filter(np.where(across % 64 < 30, 190.0, 80.0), 2)


def meadow(side: int = 384) -> np.ndarray:
    """float [side, side]: a slow slope of brightness, and a little grain."""
    grain = gaussian_filter(np.random.default_rng(7).normal(0, 1, (side, side)), 2)
    return 110 + np.linspace(-25, 25, side) + 2 * grain / grain.std()


def rgb_of(luma: np.ndarray, tint: tuple[float, ...] = (1.0, 1.0, 1.0)) -> np.ndarray:
    return np.clip(luma[..., None] * tint + 0.5, 0, 255).astype(np.uint8)


def share(luma: np.ndarray, ratio: float = 2.0) -> np.ndarray:
    return own_texture_share(block_means(luma.astype(np.float32), 2), SPEC, ratio)


def levels(values: np.ndarray) -> np.ndarray:
    """Grey levels [H, W, 3] to a correction [1, 3, H, W]."""
    return np.moveaxis(values / (255 * SPEC.std[0]), -1, 0)[None].astype(np.float32)


def bound(
    rgb: np.ndarray,
    change: np.ndarray,
    spec: ModelSpec = SPEC,
    photo: PhotoContext | None = None,
    trim_px: int = 0,
) -> np.ndarray:
    photo = photo or PhotoContext()
    drawn = bind_colours(normalise(rgb[None], spec), levels(change), spec, [photo], trim_px)[0]
    return drawn.astype(float)


def noise(side: int = 384, seed: int = 1) -> np.ndarray:
    """Fine change, the same for all bands."""
    return np.random.default_rng(seed).normal(0, 10, (side, side, 1)) * np.ones(3)


@pytest.mark.parametrize("ratio", RATIOS)
def test_woods_keep_half_and_roofs_and_meadows_little(ratio):
    assert share(woods(ratio=ratio), ratio)[14:-14, 14:-14].mean() > 0.45
    for ground in (roofs(), roofs(slope=-1.0), roofs(slope=0.0), meadow(), np.full((384, 384), 90.0)):
        # float32 of 0.15 itself, everywhere.
        assert (share(ground, ratio) == np.float32(0.15)).all()


def test_the_share_is_left_out_of_the_change():
    for ground, kept in ((woods(), 0.5), (meadow(), 0.85)):
        rgb, change = rgb_of(ground), noise()
        still = bound(rgb, np.zeros(change.shape))
        whole, part = (bound(rgb, change, spec) - still for spec in (PLAIN, SPEC))
        inner = np.s_[64:-64, 64:-64]
        slope = (whole[inner] * part[inner]).sum() / (whole[inner] ** 2).sum()
        assert slope == pytest.approx(kept, abs=0.04)


def test_no_border_appears_between_woods_and_meadow():
    """The share goes from one to the other over some twenty pixels, so that the change is not seen: a cell has four."""
    x = np.arange(384)
    mixed = np.where(x < 192, woods(), meadow())
    cells = share(mixed)
    assert cells[20:-20, :20].mean() > 0.4
    assert (cells[20:-20, -20:] == np.float32(0.15)).all()
    assert max(np.abs(np.diff(cells, axis=axis)).max() for axis in (0, 1)) < 0.18


@pytest.mark.parametrize("ratio", RATIOS)
def test_windows_agree_on_the_ground_that_they_share(ratio):
    """With the trim of the bundled weights, on ground where the share is between its limits."""
    photo, trim = PhotoContext(ratio), PLAIN.halo_px
    luma = np.where(np.arange(448) % 224 < 112, woods(448), meadow(448))
    rgb, change = rgb_of(luma, (1.0, 0.9, 0.7)), noise(448)
    # What the network leaves out itself: 32 px.
    parts = []
    for y, x in ((0, 0), (40, 72)):
        seen, added = rgb[y : y + 376, x : x + 376], levels(change[y : y + 376, x : x + 376])
        inner = added[..., 32:-32, 32:-32]
        parts.append(bind_colours(normalise(seen[None], SPEC), inner, SPEC, [photo], trim)[0].astype(int))
    difference = np.abs(parts[0][40:, 72:] - parts[1][:-40, :-72])
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_the_halo_covers_all_that_the_share_depends_on():
    """At the ratio that suits the weights, to the last bit: gradients and all boxes end within 56 px."""
    ground = woods(384)
    outside = ground.copy()
    outside[:, :128] = 0
    halo_cells = PLAIN.halo_px // 4
    assert (share(ground)[:, 32 + halo_cells :] == share(outside)[:, 32 + halo_cells :]).all()
    assert (share(ground)[:, 32 : 32 + 4] != share(outside)[:, 32 : 32 + 4]).any()


def test_means_stay_and_grey_stays_grey():
    luma = np.where(np.arange(384) < 192, woods(), roofs())
    colour = rgb_of(luma, (1.0, 0.9, 0.7))
    change = noise() * (1.2, 1.0, 0.8) + (20, 0, -10)
    for rgb, photo in ((colour, PhotoContext()), (rgb_of(luma), GREY)):
        drawn = bound(rgb, change, photo=photo)
        assert np.abs((drawn - rgb)[64:-64, 64:-64].mean((0, 1))).max() < 0.3
        assert (np.ptp(drawn, axis=2) == 0).all() == photo.grey


@pytest.mark.parametrize("trim_px", [8, 56])
def test_tensors_and_arrays_give_the_same_picture(trim_px):
    """On the CPU here; tests/sr_model/test_cuda.py paints with a GPU."""
    photos = [PhotoContext(), GREY, PhotoContext(2.83), PhotoContext()]
    grounds = woods(192), np.where(np.arange(192) < 96, woods(192), meadow(192)), roofs(192), meadow(192)
    rgb = np.stack([rgb_of(ground, (1.0, 0.9, 0.7)) for ground in grounds])
    planes = normalise(rgb, SPEC)
    change = np.concatenate([levels(noise(192, seed)) for seed in range(4)])[..., 8:-8, 8:-8].copy()
    arrays = bind_colours(planes, change, SPEC, photos, trim_px)
    tensors, finite = tensor_binding.bind_colours(
        torch.from_numpy(planes), torch.from_numpy(change), SPEC, photos, trim_px
    )
    assert bool(finite)
    difference = np.abs(tensors.numpy().astype(int) - arrays)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize("ratio", RATIOS)
def test_tensors_and_arrays_find_the_same_share(ratio):
    luma = np.where(np.arange(384) < 192, woods(ratio=ratio), meadow())
    bands = np.moveaxis(luma[..., None] * (1.0, 0.9, 0.7), -1, 0).astype(np.float32)
    found = tensor_binding.own_texture_share(torch.from_numpy(bands)[None], SPEC, ratio)[0, 0]
    assert np.abs(found.numpy() - share(np.tensordot(LUMA, bands, 1), ratio)).max() < 1e-4


def test_filters_grow_with_the_photographs_pixels():
    radii = [TextureRadii.of(ratio) for ratio in (1.41, 2.0, 2.83)]
    assert [sum(r.tensor) for r in radii] == [1, 2, 3]
    assert [sum(r.area) for r in radii] == [5, 8, 11]


def test_a_spec_without_shares_says_nothing_of_them():
    assert "own_texture" not in PLAIN.to_json()
    assert not PLAIN.keeps_texture
    assert SPEC.keeps_texture
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC
