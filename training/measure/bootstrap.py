"""Confidence intervals of metrics: how far they would move if the site were another piece of the same ground.

The blocks of ground are drawn again with replacement (Efron 1979), and every metric is computed from the draw.
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

from training.measure.metrics import FloatArray, IntArray, pattern_peak

CONFIDENCE: Final = 0.95

# How often each block was drawn, float64 [draws, blocks], to the metric of each draw, float64 [draws].
Statistic = Callable[[FloatArray], FloatArray]
# Of each chip its values, float64 [M].
Grouped = Sequence[FloatArray]


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

    def median(self, values: Grouped, others: Grouped | None = None) -> Estimate:
        """The median of values of which each chip has any number; with `others`, that over the median of theirs.

        Args:
            values, others: float64 [M] per chip, in the order of the chips; not all empty.
        """
        above = PooledValues.of(values, self.owner)
        below = None if others is None else PooledValues.of(others, self.owner)

        def statistic(counts: FloatArray) -> FloatArray:
            medians = above.medians(counts)
            return medians if below is None else medians / below.medians(counts)

        return self(float(statistic(np.ones((1, self.blocks)))[0]), statistic)

    def pattern(self, powers: FloatArray) -> Estimate:
        """The peak of a pattern, 1 without one, from the `metrics.pattern_powers` of every chip."""
        return self(float(pattern_peak(powers.sum(0))), lambda counts: pattern_peak(self._of(counts, powers)))

    def drawn_pattern(self, power: FloatArray, own: FloatArray) -> Estimate:
        """1 + the peak of the network's own pattern, from the `metrics.drawn_powers` of every chip."""
        value = 1 + float(pattern_peak(own.sum(0), near=power.sum(0)))
        return self(
            value, lambda counts: 1 + pattern_peak(self._of(counts, own), near=self._of(counts, power))
        )

    def _of(self, counts: FloatArray, values: FloatArray) -> FloatArray:
        """Sum over the chips that were drawn: [draws, blocks] and [chips, ...] to [draws, ...]."""
        result: FloatArray = np.tensordot(counts[:, self.owner], values, 1)
        return result


@dataclass(frozen=True, eq=False)
class PooledValues:
    """Values of all chips in ascending order, float64 [N], and the block of each, int [N]."""

    values: FloatArray
    owner: IntArray

    @classmethod
    def of(cls, groups: Grouped, owner: IntArray) -> PooledValues:
        """Pool the values of chips, of which `owner` int [chips] gives the blocks."""
        values = np.concatenate(list(groups))
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.repeat(owner, [len(group) for group in groups])[order])

    def medians(self, counts: FloatArray) -> FloatArray:
        """Return the median of each draw: [draws, blocks] to [draws]; NaN where the drawn blocks have no value."""
        return np.array([self._median(drawn) for drawn in counts])

    def _median(self, drawn: FloatArray) -> float:
        reached = np.cumsum(drawn[self.owner])
        if not len(reached) or reached[-1] == 0:
            return float("nan")
        # Between the two middle values where their number is even, as numpy's median.
        half = reached[-1] / 2
        low, high = np.searchsorted(reached, half, "left"), np.searchsorted(reached, half, "right")
        return float(self.values[low] + self.values[high]) / 2
