"""Resampling at the positions of a smooth mapping."""

from __future__ import annotations

import numpy as np
import pytest

from sr_model.resampling import TOLERANCE_PX, find_positions, resample

SIDE = 200


def turned(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 20 + 0.4 * (xs + 0.05 * ys), 30 + 0.4 * (ys - 0.05 * xs)


def by_definition(source: np.ndarray, us: np.ndarray, vs: np.ndarray) -> np.ndarray:
    """Keys' kernel, a = -0.5, tap by tap."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    i, j = np.floor(us).astype(int), np.floor(vs).astype(int)
    total = np.zeros((*us.shape, source.shape[2]))
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            weight = kernel(us - i - dx) * kernel(vs - j - dy)
            total += weight[..., None] * source[j + dy, i + dx]
    return total


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (7, 130), (65, 3)])
def test_pixels_are_those_of_the_kernel(dtype: str, bands: int, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    most = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    source = (random.random((150, 150, bands)) * most).astype(dtype)
    source[60:80] = most  # overshoots
    positions = find_positions(turned, shape)
    assert positions is not None
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    us, vs = turned(xs, ys)
    wanted = by_definition(source.astype(float), us - 0.5, vs - 0.5)
    made = resample(source[10:], (0, 10), positions)
    assert made.dtype == dtype
    assert made.shape == (*shape, bands)
    if dtype != "float32":
        wanted = np.clip(np.floor(wanted + 0.5), 0, most)
    error = np.abs(made - wanted)
    assert error.max() <= (1e-5 if dtype == "float32" else 1)
    assert (error > 1e-5).mean() < (0.002 if dtype == "uint8" else 0.1)


def test_cells_are_halved_until_positions_are_right() -> None:
    def bent(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 10 + xs / 2 + 4e-7 * ys * xs, 10 + ys / 2 + 1.2e-6 * xs**2

    positions = find_positions(bent, (SIDE, SIDE))
    assert positions is not None
    assert 8 <= positions.cell_px < 64
    ys, xs = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    edges = np.append(np.arange(0, SIDE, positions.cell_px), SIDE)
    for made, exact in zip(positions.nodes, bent(xs, ys), strict=True):
        for row in range(0, SIDE, 9):
            straight = np.interp(np.arange(SIDE), edges, made[row])
            assert np.abs(straight - (exact[row] - 0.5)).max() < 2 * TOLERANCE_PX


def test_what_is_not_smooth_has_no_positions() -> None:
    def jumps(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return xs + np.where(xs > 90, 1, 0), ys

    def ends(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(xs > 90, np.inf, xs), ys

    assert find_positions(jumps, (SIDE, SIDE)) is None
    assert find_positions(ends, (SIDE, SIDE)) is None


def test_windows_that_are_cut_elsewhere_get_the_same_pixels() -> None:
    source = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    whole = find_positions(turned, (SIDE, SIDE))
    part = find_positions(lambda xs, ys: turned(xs + 37, ys + 11), (150, 120))
    assert whole is not None
    assert part is not None
    same = resample(source, (0, 0), whole)[11:161, 37:157]
    error = np.abs(resample(source, (0, 0), part).astype(int) - same)
    assert error.max() <= 1
    assert (error > 0).mean() < 0.0005


def test_the_source_must_cover_the_positions() -> None:
    positions = find_positions(turned, (SIDE, SIDE))
    assert positions is not None
    reach = positions.reach
    with pytest.raises(ValueError, match="the kernel reads"):
        resample(np.zeros((reach.bottom - 1, reach.right, 3), np.uint8), (0, 0), positions)
    with pytest.raises(ValueError, match="int32"):
        resample(np.zeros((reach.bottom, reach.right, 3), np.int32), (0, 0), positions)
