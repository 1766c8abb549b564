import numpy as np
import pytest

from sr_model import InputError, ToneMap


def samples(seed: int = 0, count: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 200, (count, 3)).astype(np.uint8)


def test_a_known_cast_is_found():
    old = samples()
    restored = np.clip(old.astype(float) * (1.1, 1.0, 0.8) + (5, 0, 12), 0, 255).astype(np.uint8)
    mapped = ToneMap.fit(old, restored).apply(samples(1))
    wanted = samples(1).astype(float) * (1.1, 1.0, 0.8) + (5, 0, 12)
    assert np.abs(mapped - np.clip(wanted, 0, 255)).mean() < 1.5


def test_colours_that_no_sample_shows_stay_near():
    """A photograph of one green wood says nothing of red roofs: they must not turn wild."""
    old = samples() // 16 + np.array([60, 90, 50], np.uint8)
    tone = ToneMap.fit(old, old + np.array([10, 0, 0], np.uint8))
    roof = np.array([[200, 60, 40]], np.uint8)
    assert np.abs(tone.apply(roof).astype(int) - roof).max() < 40


def test_shape_is_kept_and_the_digest_tells_maps_apart():
    old = samples()
    same, other = ToneMap.fit(old, old), ToneMap.fit(old, 255 - old)
    picture = np.random.default_rng(3).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert same.apply(picture).shape == picture.shape
    assert np.abs(same.apply(picture).astype(int) - picture).max() <= 1
    assert same.digest == ToneMap.fit(old, old).digest != other.digest


def test_no_samples_and_unequal_shapes_are_refused():
    for old, restored in ((samples(count=4), samples(count=5)), (np.zeros((0, 3), np.uint8),) * 2):
        with pytest.raises(InputError, match="samples"):
            ToneMap.fit(old, restored)
