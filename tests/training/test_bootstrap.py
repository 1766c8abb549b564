import numpy as np
import pytest

from training.measure.bootstrap import Bootstrap, blocks_of
from training.measure.metrics import (
    drawn_powers,
    pattern_peak,
    pattern_powers,
)


def bounds(column, row, step):
    left, top = 1000.0 + column * step, 5000.0 - row * step
    return left, top - 100, left + 100, top


def test_chips_side_by_side_have_blocks_of_their_own_and_overlapping_ones_share():
    apart = [bounds(column, row, 100) for column in range(3) for row in range(2)]
    assert len(set(blocks_of(apart).tolist())) == 6
    overlapping = [bounds(column, 0, 50) for column in range(6)]
    assert blocks_of(overlapping).tolist() == [0, 1, 1, 2, 2, 3]


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        values = random.normal(5, 2, 40)
        estimate = Bootstrap(np.arange(40), draws=400, seed=seed).mean(values.tolist())
        assert estimate.value == pytest.approx(values.mean())
        held += estimate.low <= 5 <= estimate.high
    assert 180 <= held <= 199


def test_chips_of_one_block_are_drawn_together():
    """Forty chips that say the same in fours tell as little as ten."""
    values = np.random.default_rng(1).normal(0, 1, 10).repeat(4).tolist()
    alone = Bootstrap(np.arange(40)).mean(values)
    together = Bootstrap(np.arange(40) // 4).mean(values)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval_and_one_block_gives_none():
    values = [1.0, 2.0, 4.0, 3.0]
    owner = np.arange(4)
    assert Bootstrap(owner, seed=3).mean(values) == Bootstrap(owner, seed=3).mean(values)
    assert Bootstrap(owner, seed=3).mean(values) != Bootstrap(owner, seed=4).mean(values)
    assert Bootstrap(np.zeros(4, np.intp)).mean(values).low is None


def test_patterns_have_the_value_that_metrics_give_and_an_interval():
    random = np.random.default_rng(4)
    pictures = [random.integers(0, 255, (200, 200, 3)).astype(np.uint8) for _ in range(4)]
    bootstrap = Bootstrap(np.arange(4), draws=100)
    powers = np.stack([pattern_powers(picture) for picture in pictures])
    estimate = bootstrap.pattern(powers)
    assert estimate.value == pytest.approx(float(pattern_peak(powers.sum(0))))
    assert estimate.low < estimate.high
    others = [np.roll(picture, 3, axis=0) for picture in pictures]
    parts = [drawn_powers(phases) for phases in zip(pictures, others, strict=True)]
    power, own = (np.stack(part) for part in zip(*parts, strict=True))
    drawn = bootstrap.drawn_pattern(power, own)
    assert drawn.value == pytest.approx(1 + float(pattern_peak(own.sum(0), near=power.sum(0))))
