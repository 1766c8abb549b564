"""Confidence intervals of metrics: how far they would move if the site were another piece of the same ground.

The blocks of ground are drawn again with replacement (Efron 1979), and every metric is computed from what was drawn.
Blocks and not chips, because chips that overlap show the same ground (Künsch 1989); all ways to make a picture are
drawn alike, so that their values can be compared. Neighbouring blocks are alike too, so the true intervals are
rather wider than these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.measure.metrics import FloatArray, IntArray, KernelSums, pattern_peak

CONFIDENCE: Final = 0.95

# How often each block was drawn, float64 [draws, blocks], to the metric of each draw, float64 [draws].
Statistic = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Estimate:
    """A metric's value and, where there are two blocks or more, the ends of its confidence interval."""

    value: float
    low: float | None = None
    high: float | None = None


def blocks_of(chip_bounds: Sequence[tuple[float, float, float, float]]) -> IntArray:
    """Squares of ground as large as a chip: the number of the one that each chip's centre lies in.

    Args:
        chip_bounds: left, bottom, right, top of each of N chips in a projected CRS.

    Returns:
        int [N].
    """
    bounds = np.array(chip_bounds)
    side = bounds[:, 2] - bounds[:, 0]
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    # From the first chip's corner, so that chips side by side have a block each.
    squares = np.floor((centres - bounds[:, :2].min(0)) / side[:, None]).astype(np.int64)
    owner: IntArray = np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)
    return owner


class Bootstrap:
    """Draws of the blocks of one site, the same for every metric."""

    def __init__(self, owner: IntArray, *, draws: int = 1000, seed: int = 0) -> None:
        """Draw.

        Args:
            owner: int [chips], the block of each chip.
            draws: how many.
            seed: the same seed gives the same intervals.
        """
        self.owner = owner
        self.blocks = int(owner.max()) + 1
        even = np.full(self.blocks, 1 / self.blocks)
        self._counts: npt.NDArray[np.float64] = (
            np.random.default_rng(seed).multinomial(self.blocks, even, size=draws).astype(np.float64)
        )

    def __call__(self, value: float, statistic: Statistic) -> Estimate:
        """A metric of all chips with its interval, from the quantiles of the draws."""
        if self.blocks < 2:
            return Estimate(value)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = statistic(self._counts)
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            return Estimate(value)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(drawn, (tail, 1 - tail)).tolist()
        return Estimate(value, low, high)

    def mean(self, values: Sequence[float], shares: Sequence[float] | None = None) -> Estimate:
        """The mean of a metric of single chips; with `shares`, the sum of the values over theirs."""
        above = np.asarray(values, np.float64)
        below = np.ones(len(values)) if shares is None else np.asarray(shares, np.float64)
        value = float(np.mean(values)) if shares is None else sum(values) / sum(shares)
        return self(value, lambda counts: self._of(counts, above) / self._of(counts, below))

    def kernel(self, value: float, sums: KernelSums, others: KernelSums | None = None) -> Estimate:
        """`metrics.kernel_distance`; with `others`, that distance over theirs."""

        def statistic(counts: FloatArray) -> FloatArray:
            distance = _kernel_distance(counts, sums)
            return distance if others is None else distance / _kernel_distance(counts, others)

        return self(value, statistic)

    def pattern(self, powers: FloatArray) -> Estimate:
        """The peak of a pattern, 1 where there is none, from the `metrics.pattern_powers` of every chip."""
        return self(float(pattern_peak(powers.sum(0))), lambda counts: pattern_peak(self._of(counts, powers)))

    def drawn_pattern(self, power: FloatArray, own: FloatArray) -> Estimate:
        """1 + the peak of what the network drew itself, from the `metrics.drawn_powers` of every chip."""
        value = 1 + float(pattern_peak(own.sum(0), near=power.sum(0)))
        return self(
            value, lambda counts: 1 + pattern_peak(self._of(counts, own), near=self._of(counts, power))
        )

    def _of(self, counts: FloatArray, values: FloatArray) -> FloatArray:
        """Sum over the chips that were drawn: [draws, blocks] and [chips, ...] to [draws, ...]."""
        result: FloatArray = np.tensordot(counts[:, self.owner], values, 1)
        return result


def _kernel_distance(counts: FloatArray, sums: KernelSums) -> FloatArray:
    """For each draw. A block that is drawn twice is not compared with itself: its patches would be too alike."""
    pairs = counts[:, :, None] * counts[:, None]
    blocks = np.arange(counts.shape[1])
    pairs[:, blocks, blocks] = counts
    within, within_pairs, cross, cross_pairs = (
        np.tensordot(pairs, part, 2)
        for part in (sums.within, sums.within_pairs, sums.cross, sums.cross_pairs)
    )
    distance: FloatArray = within / within_pairs - 2 * cross / cross_pairs
    return distance
