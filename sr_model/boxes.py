"""Block means, box filters and bilinear enlargement of float32 maps, written for speed.

Every value is computed by the same operations in the same order wherever its window lies, so that two windows agree on
it to the last bit.
"""

from __future__ import annotations

import numpy as np

from sr_model.pixels import Float32Array


def block_means(maps: Float32Array, side: int) -> Float32Array:
    """Means over blocks: float32 [..., H, W] to [..., H / side, W / side]; H and W are multiples of `side`."""
    rows = maps[..., 0::side, :].copy()
    for row in range(1, side):
        rows += maps[..., row::side, :]
    means: Float32Array = rows[..., 0::side].copy()
    for column in range(1, side):
        means += rows[..., column::side]
    means *= np.float32(1 / side**2)
    return means


def box_means(maps: Float32Array, radius: int) -> Float32Array:
    """Means over squares of 2 radius + 1 cells around each: float32 [..., H, W] to the same; borders are repeated."""
    if not radius:
        return maps
    width = 2 * radius + 1
    around = [(0, 0)] * (maps.ndim - 2) + [(radius, radius)] * 2
    means = _sums(_sums(np.pad(maps, around, mode="edge"), width, -2), width, -1)
    means *= np.float32(1 / width**2)
    return means


def two_boxes(maps: Float32Array, radii: tuple[int, int]) -> Float32Array:
    """Two `box_means`, one after the other, which come near a Gaussian."""
    return box_means(box_means(maps, radii[0]), radii[1])


def _sums(values: Float32Array, width: int, axis: int) -> Float32Array:
    """Sums of `width` successive cells, by doubling: a sum of 13 is one of 8, one of 4 and one more cell."""

    def part(sums: Float32Array, first: int, stop: int) -> Float32Array:
        along = slice(first, stop)
        return sums[..., along, :] if axis == -2 else sums[..., along]

    count = values.shape[axis] - width + 1
    doubled, size, at = values, 1, 0
    total: Float32Array | None = None
    while True:
        if width & size:
            term = part(doubled, at, at + count)
            total = term.copy() if total is None else np.add(total, term, out=total)
            at += size
        if 2 * size > width:
            break
        length = doubled.shape[axis]
        doubled = part(doubled, 0, length - size) + part(doubled, size, length)
        size *= 2
    assert total is not None
    return total


def enlarge_columns(maps: Float32Array, factor: int) -> Float32Array:
    """Bilinear between the centres of cells, along the last axis: float32 [..., W] to [..., factor W]."""
    around = np.concatenate([maps[..., :1], maps, maps[..., -1:]], -1)
    towards = around[..., :-2] - maps, around[..., 2:] - maps
    enlarged = np.empty((*maps.shape, factor), np.float32)
    for column, (share, after) in enumerate(_shares(factor)):
        np.multiply(towards[after], share, out=enlarged[..., column])
        enlarged[..., column] += maps
    return enlarged.reshape(*maps.shape[:-1], -1)


def enlarge_rows(maps: Float32Array, factor: int, first: int, stop: int) -> Float32Array:
    """Enlarge the rows from `first` to `stop` along the last axis but one, as `enlarge_columns` does columns."""
    around = maps[..., np.clip(np.arange(first - 1, stop + 1), 0, maps.shape[-2] - 1), :]
    middle = around[..., 1:-1, :]
    towards = around[..., :-2, :] - middle, around[..., 2:, :] - middle
    enlarged = np.empty((*middle.shape[:-1], factor, middle.shape[-1]), np.float32)
    for row, (share, after) in enumerate(_shares(factor)):
        np.multiply(towards[after], share, out=enlarged[..., row, :])
        enlarged[..., row, :] += middle
    return enlarged.reshape(*maps.shape[:-2], -1, maps.shape[-1])


def _shares(factor: int) -> list[tuple[np.float32, bool]]:
    """For each pixel of a cell: the share of the neighbouring cell, and whether that is the next one."""
    offsets = [(pixel + 0.5) / factor - 0.5 for pixel in range(factor)]
    return [(np.float32(abs(offset)), offset > 0) for offset in offsets]
