import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved
from training_data import make_ground

from training.measure.fidelity import (
    compare,
    correctness,
    match_moments,
    place,
    put_in_place,
    shift_between,
)
from training.measure.metrics import consistency


def as_bytes(picture):
    return np.clip(picture, 0, 255).astype(np.uint8)


def softened(picture):
    return as_bytes(gaussian_filter(picture, (1.5, 1.5, 0)) * 0.7 + 40)


def test_a_moved_and_tinted_copy_is_put_back_and_matched():
    truth = make_ground(3, 192)
    tinted = as_bytes(moved(truth, (1.3, -0.7, 0), order=5, mode="reflect") * (0.7, 0.8, 0.6) + 30)
    new, old = as_bytes(truth), softened(truth)
    shift = shift_between(tinted, new)
    assert (shift.dx_px, shift.dy_px) == pytest.approx((-0.7, 1.3), abs=0.15)
    registered, as_it_is = (
        compare(place(tinted, new, exact=exact), place(old, new), new) for exact in (False, True)
    )
    assert registered.psnr_db > as_it_is.psnr_db + 6
    assert registered.ssim > max(as_it_is.ssim, 0.95)


def test_pictures_that_share_nothing_are_not_moved():
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 255, (128, 128, 3)).astype(np.uint8) for _ in range(2))
    shift = shift_between(first, second)
    assert np.array_equal(put_in_place(first, shift), first.astype(np.float32)) or shift.confidence >= 4


def test_old_is_omission_new_is_improvement_and_noise_is_hallucination():
    new = make_ground(5, 128).astype(np.float32)
    old = gaussian_filter(new, (2, 2, 0))
    noise = match_moments(np.random.default_rng(0).normal(0, 1, new.shape).astype(np.float32) * 50 + 128, new)
    shares = [correctness(picture, old, new) for picture in (new, old, noise)]
    assert [int(np.argmax(share)) for share in shares] == [0, 1, 2]
    assert all(sum(share) == pytest.approx(1) for share in shares)
    halfway = correctness((old + 3 * new) / 4, old, new)
    assert shares[1][0] < halfway[0] < shares[0][0]
    assert correctness(new, new, new) == (0, 1, 0)


def test_consistency_forgives_a_cast_and_finds_blotches():
    old = as_bytes(make_ground(6, 128))
    cast = as_bytes(old * (0.8, 1.1, 0.9) + 10)
    blotches = np.random.default_rng(1).normal(0, 1, old.shape)
    blotched = as_bytes(old + 600 * gaussian_filter(blotches, (8, 8, 0)))
    assert consistency(cast, old, 2) > 0.99
    assert consistency(blotched, old, 2) < 0.9
    flat = np.full_like(old, 90)
    assert consistency(flat, flat, 2) == 1
    assert consistency(flat, old, 2) == 0
