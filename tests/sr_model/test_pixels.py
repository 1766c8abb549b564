import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from sr_model import InferenceError, InputError, ModelSpec, fill_nodata, tensors
from sr_model.pixels import (
    check_rgb,
    correct,
    grain_plane,
    normalise,
)
from sr_model.tensors import denormalise_tensor, normalise_tensor

SPEC = ModelSpec.compact(width=8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def test_a_correction_is_in_the_units_of_normalised_pictures():
    seen, wanted = noise(2, 16, 32, 3), noise(3, 16, 32, 3)[1:]
    planes = normalise(wanted, SPEC)[:, :3] - normalise(seen, SPEC)[:, :3]
    assert (correct(seen, planes, SPEC) == wanted).all()
    assert (correct(seen, planes[:, :, 4:-4, 4:-4], SPEC) == wanted[:, 4:-4, 4:-4]).all()
    assert (correct(seen, np.full_like(planes, 9), SPEC) == 255).all()


@pytest.mark.parametrize("side", [16, 400])  # in one strip, and in several
def test_a_gpus_arithmetic_gives_the_same_bits(side):
    """On the CPU here; tests/sr_model/test_cuda.py does it on a GPU."""
    rgb = noise(2, side, side, 3)
    planes = normalise(rgb, SPEC)
    assert (tensors.normalise(torch.from_numpy(rgb), SPEC).numpy() == planes).all()
    correction = planes[:, :3, 4:-4, 4:-4].copy()
    theirs, finite = tensors.correct(torch.from_numpy(rgb), torch.from_numpy(correction), SPEC)
    assert (theirs.numpy() == correct(rgb, correction, SPEC)).all()
    assert bool(finite)
    correction[1, 2, -1, 3] = np.nan
    assert not bool(tensors.correct(torch.from_numpy(rgb), torch.from_numpy(correction), SPEC)[1])


def test_arrays_and_tensors_are_normalised_alike():
    rgb = noise(1, 16, 16, 3)
    tensor = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    planes = normalise_tensor(tensor, SPEC)
    assert np.allclose(planes.numpy(), normalise(rgb, SPEC)[:, :3], atol=1e-5)
    assert torch.allclose(denormalise_tensor(planes, SPEC), tensor, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, (np.inf, -np.inf)])
def test_values_that_are_not_finite_make_no_picture(bad):
    rgb = noise(1, 16, 16, 3)
    planes = normalise(rgb, SPEC)[:, :3]
    planes[0, 1, 5, 5:7] = bad
    with pytest.raises(InferenceError, match="not finite"):
        correct(rgb, planes, SPEC)


def test_wrong_input_is_refused_with_the_size_to_pad_to():
    with pytest.raises(InputError, match="pad to 32 x 48"):
        check_rgb(noise(1, 20, 40, 3), 16)
    with pytest.raises(InputError, match="expected uint8"):
        check_rgb(noise(1, 16, 16, 3).astype(np.float32), 16)
    with pytest.raises(InputError, match="expected uint8"):
        check_rgb(noise(16, 16, 3), 16)


@given(st.integers(0, 2**32 - 1))
def test_nodata_takes_the_nearest_valid_colour(seed):
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    mask = np.where(random.random((9, 11)) < 0.5, 255, 0).astype(np.uint8)
    filled = fill_nodata(rgb, mask)
    valid = np.argwhere(mask)
    assert (filled[mask > 0] == rgb[mask > 0]).all()
    for y, x in np.argwhere(mask == 0)[:5] if len(valid) else []:
        distance = ((valid - (y, x)) ** 2).sum(1)
        nearest = {tuple(rgb[i, j]) for i, j in valid[distance == distance.min()]}
        assert tuple(filled[y, x]) in nearest


def test_a_picture_without_nodata_or_without_data_is_returned_as_it_is():
    rgb = noise(4, 4, 3)
    assert fill_nodata(rgb, np.full((4, 4), 255, np.uint8)) is rgb
    assert fill_nodata(rgb, np.zeros((4, 4), np.uint8)) is rgb


def test_grain_is_white_noise_that_lies_on_the_ground():
    rgb = noise(1, 96, 96, 3) // 64  # few colours, many flat neighbourhoods
    grain = grain_plane(rgb)[0]
    assert abs(float(grain.mean())) < 0.05
    assert float(grain.std()) == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(grain[:, 1:].ravel(), grain[:, :-1].ravel())[0, 1]) < 0.05
    inner = grain_plane(rgb[:, 16:80, 16:80])[0]
    assert (inner[4:-4, 4:-4] == grain[20:76, 20:76]).all()


def unsigned_grain(rgb):
    """The definition, in the arithmetic that it is usually written in: lowbias32 of unsigned words."""

    def mixed(words):
        for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
            words = (words ^ words >> np.uint32(shift)) * np.uint32(factor)
        return words ^ words >> np.uint32(15)

    words = mixed((rgb.astype(np.uint32) * np.array([1, 1 << 8, 1 << 16], np.uint32)).sum(3, dtype=np.uint32))
    for axis, factor in ((1, 0x9E3779B1), (2, 0x85EBCA77)):
        before, after = np.roll(words, 2, axis), np.roll(words, -1, axis)
        words = mixed(words + before * np.uint32(factor) ^ after)
    return words.astype(np.float64) * (12**0.5 / 2**32) - 3**0.5


def test_grain_is_the_one_that_the_networks_were_trained_with():
    rgb = noise(2, 40, 56, 3)
    np.testing.assert_allclose(grain_plane(rgb), unsigned_grain(rgb), atol=1e-6)


def test_weights_without_grain_see_three_planes():
    plain = ModelSpec.compact(width=8, grain=False)
    assert normalise(noise(1, 16, 16, 3), plain).shape == (1, 3, 16, 16)
    assert normalise(noise(1, 16, 16, 3), SPEC).shape == (1, 4, 16, 16)


@pytest.mark.parametrize("seed", range(6))
def test_nodata_is_filled_from_the_nearest_pixel_wherever_it_lies(seed):
    """In parts, yet as from the whole picture."""
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (700, 650, 3)).astype(np.uint8)
    y, x = np.mgrid[:700, :650]
    valid = (
        (x + 0.03 * y > 40) & (y - 0.05 * x > 25 * (seed % 2)) if seed < 4 else random.random(x.shape) > 0.99
    )
    for _ in range(seed):
        top, left, height, width = *random.integers(0, 600, 2), *random.integers(1, 150, 2)
        valid[top : top + height, left : left + width] = False
    filled = fill_nodata(rgb, np.where(valid, 255, 0).astype(np.uint8))
    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    np.testing.assert_array_equal(filled, rgb[rows, columns])
