"""Arithmetic of windows in a zoom's global pixel grid, which makes tiles seamless.

A strided network is equivariant only to shifts by its total stride. If every input window starts at a multiple of that
stride *in the global grid*, two neighbouring windows compute the same value for each pixel that both contain with
enough context, and the halo need only cover the effective receptive field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class PixelWindow:
    """A rectangle of whole pixels, of one pixel at least.

    Attributes:
        x, y: column and row of the upper left pixel; may be negative.
        width, height: number of columns and rows.

    Raises:
        ValueError: width or height is less than 1.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a window needs at least one pixel, not {self.width} x {self.height}")

    @classmethod
    def between(cls, left: int, top: int, right: int, bottom: int) -> PixelWindow:
        """Return the window between its edges; `right` and `bottom` are the first column and row outside it."""
        return cls(left, top, right - left, bottom - top)

    @property
    def right(self) -> int:
        """First column after the window."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row after the window."""
        return self.y + self.height

    @property
    def area_px(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def grown(self, px: int) -> PixelWindow:
        """Return the window with `px` more pixels on each side, or fewer if `px` is negative."""
        return PixelWindow(self.x - px, self.y - px, self.width + 2 * px, self.height + 2 * px)

    def shifted(self, dx: int, dy: int) -> PixelWindow:
        """Return the window moved `dx` pixels to the right and `dy` down."""
        return PixelWindow(self.x + dx, self.y + dy, self.width, self.height)

    def aligned(self, multiple: int) -> PixelWindow:
        """Return the smallest window around this one whose origin and size are multiples of `multiple`."""
        return PixelWindow.between(
            self.x // multiple * multiple,
            self.y // multiple * multiple,
            -(-self.right // multiple) * multiple,
            -(-self.bottom // multiple) * multiple,
        )

    def scaled_up(self, factor: int) -> PixelWindow:
        """Return the same ground in a grid whose pixels are `factor` times smaller."""
        return PixelWindow(self.x * factor, self.y * factor, self.width * factor, self.height * factor)

    def scaled_down(self, factor: int) -> PixelWindow:
        """Return the same ground in a grid whose pixels are `factor` times larger.

        Raises:
            ValueError: origin or size is not a multiple of `factor`; see `aligned`.
        """
        values = (self.x, self.y, self.width, self.height)
        if any(value % factor for value in values):
            raise ValueError(f"{self} does not lie on multiples of {factor}")
        return PixelWindow(*(value // factor for value in values))

    def split(self, size_px: int, origin: tuple[int, int] = (0, 0)) -> Iterator[PixelWindow]:
        """Cut the window at multiples of `size_px`, counted from `origin`.

        Yields:
            The parts, row by row. With the default origin, `part.aligned(size_px)` is the grid square of a part.
        """
        first = self.shifted(-origin[0], -origin[1]).aligned(size_px).shifted(*origin)
        for y in range(first.y, first.bottom, size_px):
            for x in range(first.x, first.right, size_px):
                yield PixelWindow.between(
                    max(x, self.x),
                    max(y, self.y),
                    min(x + size_px, self.right),
                    min(y + size_px, self.bottom),
                )


def aligned_window(inner: PixelWindow, halo_px: int, stride: int) -> PixelWindow:
    """Return the input window for `inner`: grown by the halo, then outwards to multiples of `stride`."""
    return inner.grown(halo_px).aligned(stride)


def crop_slices(outer: PixelWindow, inner: PixelWindow) -> tuple[slice, slice]:
    """Return the rows and columns of `inner` in an array of the pixels of `outer`.

    Raises:
        ValueError: `inner` is not inside `outer`.
    """
    row, column = inner.y - outer.y, inner.x - outer.x
    if row < 0 or column < 0 or inner.right > outer.right or inner.bottom > outer.bottom:
        raise ValueError(f"{inner} is not inside {outer}")
    return slice(row, row + inner.height), slice(column, column + inner.width)
