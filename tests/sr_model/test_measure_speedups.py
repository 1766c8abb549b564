"""What the measurements compute in faster ways has the values of the plain ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sr_model.measure.small_copy import deviation, dilated, lowest_and_highest, opened


@pytest.mark.parametrize("shape", [(61, 47), (5, 9), (1, 30)])
@pytest.mark.parametrize("px", [0, 1, 2, 3, 5, 16, 40])
def test_dilated_masks_are_those_of_a_filter(shape: tuple[int, int], px: int) -> None:
    mask = np.random.default_rng(px).random(shape) > 0.97
    before = mask.copy()
    square = np.ones((2 * px + 1, 2 * px + 1), np.bool_)
    np.testing.assert_array_equal(dilated(mask, px), ndimage.binary_dilation(mask, square))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("shape", [(61, 47), (5, 9)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.0])
def test_opened_masks_are_those_of_a_filter(shape: tuple[int, int], share: float) -> None:
    mask = ndimage.binary_dilation(np.random.default_rng(3).random(shape) > 1 - share, np.ones((6, 6)))
    expected = ndimage.binary_opening(mask, np.ones((7, 7), np.bool_))
    np.testing.assert_array_equal(opened(mask, 3), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_extremes_and_deviations_of_bands(dtype: str, bands: int) -> None:
    values = np.random.default_rng(4).integers(0, 256, (20, 30, bands)).astype(dtype)
    if dtype == "float32":
        values[3, 4, bands - 1] = np.nan
    away = np.abs(values.astype(np.float32) - np.float32(7)).max(axis=2)
    away[np.isnan(away)] = np.inf
    np.testing.assert_array_equal(deviation(values, 7), away)
    low, high = lowest_and_highest(values)
    np.testing.assert_array_equal(low, values.min(axis=2))
    np.testing.assert_array_equal(high, values.max(axis=2))
