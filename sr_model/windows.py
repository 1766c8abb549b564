"""Pure arithmetic of windows in a zoom's global pixel grid: the reason that tiles have no seams.

A strided network is equivariant only to shifts by its total stride. If every window that is shown to it starts at
a multiple of that stride *in the global grid*, two neighbouring windows compute the same value for a pixel that
both see with enough context, and the halo need only cover the effective receptive field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class PixelWindow:
    """A rectangle of whole pixels; `x` to the right, `y` down, both may be negative."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a window needs at least one pixel, not {self.width} x {self.height}")

    @property
    def right(self) -> int:
        """First column after the window."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row after the window."""
        return self.y + self.height


def _floor_to(value: int, step: int) -> int:
    return value // step * step


def _ceil_to(value: int, step: int) -> int:
    return -(-value // step) * step


def aligned_window(inner: PixelWindow, halo_px: int, stride: int) -> PixelWindow:
    """Grow `inner` by the halo, then outwards until origin and size are multiples of `stride`."""
    left, top = _floor_to(inner.x - halo_px, stride), _floor_to(inner.y - halo_px, stride)
    right, bottom = _ceil_to(inner.right + halo_px, stride), _ceil_to(inner.bottom + halo_px, stride)
    return PixelWindow(left, top, right - left, bottom - top)


def inset(window: PixelWindow, border_px: int) -> PixelWindow:
    """A window without its border."""
    x, y = window.x + border_px, window.y + border_px
    return PixelWindow(x, y, window.width - 2 * border_px, window.height - 2 * border_px)


def crop_slices(outer: PixelWindow, inner: PixelWindow) -> tuple[slice, slice]:
    """Rows and columns of `inner` in an array of `outer`'s pixels.

    Raises:
        ValueError: `inner` is not inside `outer`.
    """
    row, column = inner.y - outer.y, inner.x - outer.x
    if row < 0 or column < 0 or inner.right > outer.right or inner.bottom > outer.bottom:
        raise ValueError(f"{inner} is not inside {outer}")
    return slice(row, row + inner.height), slice(column, column + inner.width)


def tile_windows(
    inner: PixelWindow, size_px: int, halo_px: int, stride: int
) -> Iterator[tuple[PixelWindow, PixelWindow]]:
    """Cover `inner` with blocks of a global `size_px` grid, row by row.

    Yields:
        The part of `inner` that a block covers, and the aligned window to read for it.
    """
    for y in range(_floor_to(inner.y, size_px), inner.bottom, size_px):
        for x in range(_floor_to(inner.x, size_px), inner.right, size_px):
            left, top = max(x, inner.x), max(y, inner.y)
            right, bottom = min(x + size_px, inner.right), min(y + size_px, inner.bottom)
            core = PixelWindow(left, top, right - left, bottom - top)
            yield core, aligned_window(core, halo_px, stride)
