import numpy as np
import pytest
import torch
from training_data import make_ground as ground

from sr_model.pixels import grain_plane
from training.data.augment import augment, draw_grain
from training.data.degrade import age
from training.measure.metrics import band_energy


def test_a_seed_gives_one_picture_and_another_seed_another():
    sharp = ground(1, 128).astype(np.uint8)
    first, again, other = (age(sharp, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()
    assert first.shape == sharp.shape


def test_ageing_takes_fine_detail_and_keeps_the_place():
    rng = np.random.default_rng(0)
    sharp = np.clip(ground(2, 128) + rng.normal(0, 12, (128, 128, 3)), 0, 255).astype(np.uint8)
    aged = [age(sharp, np.random.default_rng(seed)) for seed in range(12)]
    assert np.median([np.divide(*band_energy(old, sharp)) for old in aged]) < 0.5
    for old in aged:
        correlation = [
            np.corrcoef(np.roll(old, shift, 1).mean(2).ravel(), sharp.mean(2).ravel())[0, 1]
            for shift in (-1, 0, 1)
        ]
        assert np.argmax(correlation) == 1


def test_old_and_new_are_augmented_together():
    new = torch.from_numpy(ground(3, 160).astype(np.uint8)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    for seed in range(12):
        old, other = augment(new, new, 96, (0.7, 1.4), torch.Generator().manual_seed(seed))
        assert old.shape == other.shape == (2, 3, 96, 96)
        # Only colours differ: gain and offset per band, so the bands stay correlated.
        for band in range(3):
            pair = torch.stack([old[0, band].flatten(), other[0, band].flatten()])
            assert float(torch.corrcoef(pair)[0, 1]) > 0.99


def test_only_the_old_side_changes_its_colours():
    picture = torch.from_numpy(ground(4, 96).astype(np.uint8)).permute(2, 0, 1)[None]
    exact = [
        torch.rot90(f(picture / 255), k, (-2, -1))
        for f in (lambda x: x, lambda x: x.flip(-1))
        for k in range(4)
    ]
    for seed in range(6):
        old, new = augment(picture, picture, 96, (1.0, 1.0), torch.Generator().manual_seed(seed))
        assert any(torch.equal(new, turned) for turned in exact)
        assert not any(torch.equal(old, turned) for turned in exact)


def test_chips_that_lack_ground_give_smaller_crops_and_every_scale():
    # One bright line 40 px from the next: their distance tells the scale.
    chip = torch.zeros(1, 3, 200, 200, dtype=torch.uint8)
    chip[..., ::40] = 255
    sides = set()
    for seed in range(30):
        old, new = augment(chip, chip, 192, (0.7, 1.4), torch.Generator().manual_seed(seed), 16)
        assert old.shape == new.shape
        sides.add(new.shape[-1])
    assert min(sides) == 144  # of 200 px at nearly 1.4 px per px: 142.9, and just below that scale 144
    assert max(sides) == 192


def test_dust_lies_on_some_pictures_and_covers_little_of_them():
    grey = np.full((160, 160, 3), 128, np.uint8)
    covered = []
    for seed in range(40):
        old = age(grey, np.random.default_rng(seed)).astype(int)
        # Grain stays within 5 deviations of 6 grey levels.
        covered.append((abs(old - np.median(old)).max(axis=2) > 45).mean())
    dusty = [share for share in covered if share]
    assert 5 < len(dusty) < 20
    assert max(dusty) < 0.05


def test_grain_is_that_of_serving_and_a_seed_gives_one():
    old = torch.zeros(2, 3, 64, 64)
    first, again, other = (draw_grain(old, 1, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == (2, 1, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    served = torch.from_numpy(
        grain_plane(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8))
    )
    for plane in (first, served):
        assert float(plane.mean()) == pytest.approx(0, abs=0.03)
        assert float(plane.std()) == pytest.approx(1, abs=0.02)
        assert float(plane.abs().max()) <= 3**0.5 + 1e-5
    assert draw_grain(old, 0, torch.Generator()).shape == (2, 0, 64, 64)
