"""The inner loop of `sr_model.resampling`, compiled by numba at its first call and kept in numba's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_f, _u = np.float32, np.uint64


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    options: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # No folder can be written to: compiled anew by each process, for two seconds.
        return numba.njit(**options)(function)  # type: ignore[no-any-return]


@numba.njit(inline="always")
def _weights(share: Any) -> Any:
    """Keys' kernel with a = -0.5 for the pixel before a position, the one at it, and the two after it."""
    square = share * share
    cube = square * share
    return (
        _f(-0.5) * cube + square - _f(0.5) * share,
        _f(1.5) * cube - _f(2.5) * square + _f(1),
        _f(-1.5) * cube + _f(2) * square + _f(0.5) * share,
        _f(0.5) * cube - _f(0.5) * square,
    )


@numba.njit(inline="always")
def _along(lanes: Any, at: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """The kernel along a row; numbers without a sign spare a test for negative indices."""
    return x0 * lanes[at] + x1 * lanes[at + _u(4)] + x2 * lanes[at + _u(8)] + x3 * lanes[at + _u(12)]


@numba.njit(nogil=True, fastmath=True, error_model="numpy")
def _fill_line(lanes: Any, width: int, us: Any, vs: Any, cell_px: int, line: Any) -> None:
    """Resample one row of the target into float32 [4 * length]; `us` and `vs` are the nodes of the row."""
    length = len(line) // 4
    stride = _u(4 * width)
    first = np.empty(length, np.uint64)
    across, down = np.empty(length, np.float32), np.empty(length, np.float32)
    for cell in range(len(us) - 1):
        start = cell * cell_px
        count = min(cell_px, length - start)
        u, v = us[cell], vs[cell]
        du, dv = (us[cell + 1] - u) / count, (vs[cell + 1] - v) / count
        for number in range(count):
            # Positive, since the source begins before the first position: cutting off is rounding down.
            column, row = u + number * du, v + number * dv
            i, j = np.int32(column), np.int32(row)
            across[start + number], down[start + number] = _f(column - i), _f(row - j)
            first[start + number] = _u(4 * ((np.int64(j) - 1) * width + i - 1))
    for x in range(length):
        x0, x1, x2, x3 = _weights(across[x])
        y0, y1, y2, y3 = _weights(down[x])
        a = first[x]
        b = a + stride
        c = b + stride
        d = c + stride
        # All four channels before the first is stored: so they are computed as one vector.
        red = (
            y0 * _along(lanes, a, x0, x1, x2, x3)
            + y1 * _along(lanes, b, x0, x1, x2, x3)
            + y2 * _along(lanes, c, x0, x1, x2, x3)
            + y3 * _along(lanes, d, x0, x1, x2, x3)
        )
        green = (
            y0 * _along(lanes, a + _u(1), x0, x1, x2, x3)
            + y1 * _along(lanes, b + _u(1), x0, x1, x2, x3)
            + y2 * _along(lanes, c + _u(1), x0, x1, x2, x3)
            + y3 * _along(lanes, d + _u(1), x0, x1, x2, x3)
        )
        blue = (
            y0 * _along(lanes, a + _u(2), x0, x1, x2, x3)
            + y1 * _along(lanes, b + _u(2), x0, x1, x2, x3)
            + y2 * _along(lanes, c + _u(2), x0, x1, x2, x3)
            + y3 * _along(lanes, d + _u(2), x0, x1, x2, x3)
        )
        fourth = (
            y0 * _along(lanes, a + _u(3), x0, x1, x2, x3)
            + y1 * _along(lanes, b + _u(3), x0, x1, x2, x3)
            + y2 * _along(lanes, c + _u(3), x0, x1, x2, x3)
            + y3 * _along(lanes, d + _u(3), x0, x1, x2, x3)
        )
        at = _u(4) * _u(x)
        line[at] = red
        line[at + _u(1)] = green
        line[at + _u(2)] = blue
        line[at + _u(3)] = fourth


@_compiled
def resample_integers(
    lanes: Any, width: int, columns: Any, rows: Any, cell_px: int, most: int, target: Any
) -> None:
    """Fill a target of unsigned integers.

    Args:
        lanes: float32 [height * width * 4]; the source, four values for each pixel.
        width: of the source.
        columns, rows: float64 [target height, cells + 1]; see `Positions.nodes`.
        cell_px: width of a cell; the last may be narrower.
        most: largest value of the target's type.
        target: uint8 or uint16 [target height, target width, up to 4].
    """
    height, length, bands = target.shape
    line = np.empty(4 * length, np.float32)
    # Half a grey level more, so that cutting off the fraction rounds.
    limit = _f(most) + _f(0.5)
    for y in range(height):
        _fill_line(lanes, width, columns[y], rows[y], cell_px, line)
        for x in range(length):
            for band in range(bands):
                target[y, x, band] = np.int32(min(max(line[4 * x + band] + _f(0.5), _f(0)), limit))


@_compiled
def resample_floats(lanes: Any, width: int, columns: Any, rows: Any, cell_px: int, target: Any) -> None:
    """As `resample_integers`; the target is float32."""
    height, length, bands = target.shape
    line = np.empty(4 * length, np.float32)
    for y in range(height):
        _fill_line(lanes, width, columns[y], rows[y], cell_px, line)
        for x in range(length):
            for band in range(bands):
                target[y, x, band] = line[4 * x + band]
