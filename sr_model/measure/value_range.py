"""The values of a photograph that become black and white: as its data type says, or found in a small copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from sr_model.measure.small_copy import SmallCopy

# Percentiles that become black and white.
_PERCENTILES: Final = (0.1, 99.9)
# A photograph that fills this share of its data type's range is taken to use all of it.
_FILLS: Final = 0.75
# Figures of a found value that is not an integer: enough for any picture, and few enough to type.
_FIGURES: Final = 4


def range_of_type(dtype: np.dtype[Any], bits: int | None) -> tuple[float, float] | None:
    """Lowest and highest value of a data type, of which a file may use fewer bits; None if a range has to be found.

    8 bits are meant to be used in full. 16 bits and more seldom are, unless the file says how many of them it has.
    """
    if dtype.kind == "u" and bits is not None and bits < 8 * dtype.itemsize:
        return 0.0, float(2**bits - 1)
    return (0.0, 255.0) if dtype == np.uint8 else None


def find_range(copy: SmallCopy) -> tuple[float, float]:
    """Values of which 0.1 % of the photograph are darker and brighter; all bands have the same, which keeps colours."""
    shown = copy.values[copy.valid]
    dtype = copy.values.dtype
    if not shown.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(shown, _PERCENTILES))
    if dtype.kind in "ui":
        return _whole_numbers(low, high, dtype)
    low, high = _rounded(low, high - low, math.floor), _rounded(high, high - low, math.ceil)
    return (low, high) if low < high else (low, low + 1.0)


def _whole_numbers(low: float, high: float, dtype: np.dtype[np.generic]) -> tuple[float, float]:
    limits = np.iinfo(dtype.name)
    if dtype.itemsize > 1 and high - low >= _FILLS * (limits.max - limits.min):
        return float(limits.min), float(limits.max)
    first, last = math.floor(low), math.ceil(high)
    return float(first), float(last if last > first else first + 1)


def _rounded(value: float, span: float, towards: Callable[[float], int]) -> float:
    """A value in steps of a ten-thousandth of the range, or so, away from its middle."""
    if span <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(span)) - _FIGURES + 1)
    return float(f"{towards(value / step) * step:.12g}")
