import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from training.evaluate.methods import unsharp
from training.measure.bootstrap import Bootstrap
from training.measure.metrics import (
    band_energy,
    drawn_powers,
    pattern_powers,
    structure_kept,
)


def texture(seed: int, sigma: float = 0.7, size: int = 256) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (size, size))
    blobs = gaussian_filter(noise, sigma) / sigma**-1 * 60 + gaussian_filter(noise, 6) * 400
    return np.clip(120 + np.repeat(blobs[..., None], 3, axis=2), 0, 255).astype(np.uint8)


def test_high_frequency_energy_is_blind_to_contrast():
    sharp = texture(1)
    energy, wanted = band_energy(sharp, sharp)
    assert energy == pytest.approx(wanted)
    dull = (texture(1) * 0.5 + 60).astype(np.uint8)
    assert band_energy(dull, sharp)[0] == pytest.approx(wanted, rel=0.1)
    soft = gaussian_filter(texture(1), (1, 1, 0))
    assert band_energy(soft, sharp)[0] < band_energy(unsharp(soft), sharp)[0] < wanted


def pattern(pictures):
    return Bootstrap(np.arange(len(pictures))).pattern(np.stack([pattern_powers(p) for p in pictures])).value


def drawn_pattern(phases):
    powers = [drawn_powers(windows) for windows in zip(*phases, strict=True)]
    power, own = (np.stack(part) for part in zip(*powers, strict=True))
    return Bootstrap(np.arange(len(powers))).drawn_pattern(power, own).value


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_faint_grid_is_found(period):
    pictures = [texture(i, size=512) for i in range(6)]
    assert pattern(pictures) < 1.4
    grid = np.zeros((512, 512, 1))
    grid[::period, ::period] = 10
    assert pattern([np.clip(p + grid, 0, 255).astype(np.uint8) for p in pictures]) > 2


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_pattern_of_the_network_is_told_from_one_of_the_photo(period):
    """The photo has strong lines of its own; the network's grid is faint and flips its sign with the content."""
    photos = [texture(i, size=320).astype(np.float64) for i in range(4)]
    for photo in photos:
        photo[::period] += 25

    def network(photo, strength):
        grid = np.zeros(photo.shape)
        grid[::period, ::period] = strength
        return np.clip(photo + grid * np.sign(photo - 120), 0, 255).astype(np.uint8)

    def at_phases(strength):
        phases = [(0, 0), (1, 6), (2, 3), (3, 1), (4, 4), (5, 7), (6, 2), (7, 5)]
        return [
            [network(photo[y:, x:], strength)[7 - y :, 7 - x :][:300, :300] for photo in photos]
            for y, x in phases
        ]

    assert pattern(at_phases(0)[0]) > 5
    assert drawn_pattern(at_phases(0)) < 1.01
    assert drawn_pattern(at_phases(25)) > 1.2


def test_structure_is_compared_at_the_old_pixel_size():
    picture = texture(1, sigma=3)
    grain = np.random.default_rng(0).normal(0, 25, picture.shape)
    grainy = np.clip(picture + grain, 0, 255).astype(np.uint8)
    assert structure_kept(picture, picture, 2) == pytest.approx(1)
    assert structure_kept(grainy, picture, 4) > structure_kept(grainy, picture, 1)
    assert structure_kept(texture(2, sigma=3), picture, 2) < 0.3
