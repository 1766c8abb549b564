"""The common grid of two photographs, and every reason why there is none, found before any work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds

from sr_model.ground import PixelSize, pixel_size
from training.data.manifest import Bounds
from training.errors import PairError
from training.measure.register import LocalShift
from training.pairs.reading import NOTHING_SAID, Read, Reading, resolve

_WGS84: Final = CRS.from_epsg(4326)


@dataclass(frozen=True)
class Grid:
    """The new photo's CRS at the target GSD, over the ground that both photographs show.

    Attributes:
        crs: of the grid.
        pixel: side of a pixel in units of the CRS.
        left, top: the grid's corner.
        columns, rows: how many chips.
        size_px: side of a chip.
        step_px: from one chip to the next; less than `size_px` where chips overlap.
        gsd_m: side of a pixel on the ground.
        old_gsd_m: the same of the old photo.
    """

    crs: CRS
    pixel: float
    left: float
    top: float
    columns: int
    rows: int
    size_px: int
    step_px: int
    gsd_m: float
    old_gsd_m: float

    def centre_px(self, column: int, row: int) -> tuple[float, float]:
        """Centre of a chip in pixels right and down of the grid's corner."""
        half = self.size_px / 2
        return column * self.step_px + half, row * self.step_px + half

    def window(
        self,
        centre_px: tuple[float, float],
        side_px: int,
        shift: LocalShift | None = None,
        coarsen: float = 1,
    ) -> Affine:
        """Geotransform of a square window of `side_px` pixels, each `coarsen` grid pixels wide.

        A shift moves the window and, where the shift varies, shears it.
        """
        moved = shift or LocalShift()
        xx, xy, yx, yy = moved.warp
        to_ground = Affine(self.pixel, 0, self.left, 0, -self.pixel, self.top)
        to_centre = Affine.translation(centre_px[0] + moved.dx_px, centre_px[1] + moved.dy_px)
        warp = Affine(1 + xx, xy, 0, yx, 1 + yy, 0)
        from_corner = Affine.scale(coarsen) @ Affine.translation(-side_px / 2, -side_px / 2)
        return to_ground @ to_centre @ warp @ from_corner

    def bounds(self, column: int, row: int) -> Bounds:
        """Bounds of a chip: left, bottom, right, top."""
        left = self.left + column * self.step_px * self.pixel
        top = self.top - row * self.step_px * self.pixel
        side = self.size_px * self.pixel
        return left, top - side, left + side, top

    def chips(self) -> Iterator[tuple[int, int]]:
        """Every chip as (column, row)."""
        return ((column, row) for row in range(self.rows) for column in range(self.columns))


def gsd_at(source: Any, centre: tuple[float, float], crs: CRS | None = None) -> float:
    """Ground sample distance of a raster in metres, as the server measures it; see `sr_model.ground`.

    Args:
        source: an open raster.
        centre: x and y, in its CRS, of the place to measure at.
        crs: in place of its own.
    """
    return pixel_at(crs or source.crs, source.transform, centre).gsd_m


def pixel_at(crs: CRS, matrix: Affine, centre: tuple[float, float]) -> PixelSize:
    """Size on the ground of the pixels of a grid, measured as the server does.

    Args:
        crs: CRS of the grid.
        matrix: from pixels to units of the CRS.
        centre: x and y, in the CRS, of the place to measure at.
    """

    def to_degrees(xs: Sequence[float], ys: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        longitudes, latitudes = transform(crs, _WGS84, xs, ys)[:2]
        return longitudes, latitudes

    return pixel_size(to_degrees, centre, (matrix.a, matrix.d), (matrix.b, matrix.e))


def open_photo(path: Path) -> Any:
    """Open a raster.

    Raises:
        PairError: GDAL cannot read it.
    """
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise PairError(f"{path.name} is not a raster that GDAL can read: convert it to GeoTIFF") from error


def ground_of(source: Any) -> Bounds:
    """Bounds of a raster in its CRS; the rows of some run from south to north."""
    (left, right), (bottom, top) = sorted(source.bounds[::2]), sorted(source.bounds[1::2])
    return left, bottom, right, top


@dataclass(frozen=True)
class _Opened:
    """An open photograph and how it is read."""

    source: Any
    read: Read

    @property
    def ground(self) -> Bounds:
        return ground_of(self.source)


def _overlap(old: _Opened, new: _Opened) -> Bounds:
    first, second = transform_bounds(old.read.crs, new.read.crs, *old.ground), new.ground
    bounds = (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )
    if not all(map(math.isfinite, bounds)) or bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        raise PairError("the photographs do not overlap: check their CRS with gdalinfo")
    return bounds


def _gsds(old: _Opened, new: _Opened, overlap: Bounds) -> tuple[float, float]:
    """Ground sample distances of both photographs, in the middle of their overlap."""
    x, y = (overlap[0] + overlap[2]) / 2, (overlap[1] + overlap[3]) / 2
    (old_x,), (old_y,) = transform(new.read.crs, old.read.crs, [x], [y])[:2]
    return gsd_at(old.source, (old_x, old_y), old.read.crs), gsd_at(new.source, (x, y), new.read.crs)


@dataclass(frozen=True)
class Common:
    """What two photographs have in common.

    Attributes:
        grid: of the chips.
        old, new: how each is read.
        shared: the share of each one's ground that both show.
    """

    grid: Grid
    old: Read
    new: Read
    shared: tuple[float, float]


def common_grid(
    old_path: Path, new_path: Path, gsd_m: float | None, size_px: int, step_px: int | None = None
) -> Grid:
    """The grid of `common_ground`, for photographs that say all that is needed themselves."""
    return common_ground(old_path, new_path, gsd_m, size_px, step_px).grid


def common_ground(
    old_path: Path,
    new_path: Path,
    gsd_m: float | None,
    size_px: int,
    step_px: int | None = None,
    readings: tuple[Reading, Reading] = (NOTHING_SAID, NOTHING_SAID),
) -> Common:
    """Plan the grid, and refuse what makes no pairs before any work.

    Args:
        old_path, new_path: the two photographs.
        gsd_m: target ground sample distance; by default the new photo's own.
        size_px: side of a chip.
        step_px: from one chip to the next, by default `size_px`.
        readings: what the user says of the old and of the new photo.

    Raises:
        PairError: no CRS, unfit bands, no overlap, old finer than new, or a target finer than the new photo.
    """
    step_px = step_px or size_px
    with open_photo(old_path) as old_source, open_photo(new_path) as new_source:
        old, new = (
            _Opened(source, resolve(path, source, reading))
            for path, source, reading in zip(
                (old_path, new_path), (old_source, new_source), readings, strict=True
            )
        )
        if not new.read.crs.is_projected:
            raise PairError(
                f"the new photo's CRS {new.read.crs.to_string()[:40]} is not projected: "
                f"warp it to a projected one first, with gdalwarp -t_srs EPSG:CODE {new_path.name} OUT.tif"
            )
        overlap = left, bottom, right, top = _overlap(old, new)
        old_gsd_m, new_gsd_m = _gsds(old, new, overlap)
        target_m = gsd_m or new_gsd_m
        _check_sizes(old_gsd_m, new_gsd_m, target_m)
        pixel = target_m / new_gsd_m * math.sqrt(abs(new_source.transform.determinant))
        columns, rows = (
            (int(length / pixel + 1e-6) - size_px) // step_px + 1 for length in (right - left, top - bottom)
        )
        if columns < 1 or rows < 1:
            raise PairError(
                f"the photographs overlap on less than one chip of {size_px} px at {target_m:.3g} m: "
                "check their CRS, or use a smaller --size"
            )
        grid = Grid(new.read.crs, pixel, left, top, columns, rows, size_px, step_px, target_m, old_gsd_m)
        return Common(grid, old.read, new.read, _shared(overlap, old, new))


def _shared(overlap: Bounds, old: _Opened, new: _Opened) -> tuple[float, float]:
    grounds = transform_bounds(old.read.crs, new.read.crs, *old.ground), new.ground
    first, second = (_area(overlap) / max(_area(ground), 1e-12) for ground in grounds)
    return first, second


def _area(bounds: Bounds) -> float:
    left, bottom, right, top = bounds
    return (right - left) * (top - bottom)


def _check_sizes(old_gsd_m: float, new_gsd_m: float, target_m: float) -> None:
    # A tenth of leave: pixels of equal size differ a little from one projection to the next.
    if old_gsd_m < 0.9 * new_gsd_m:
        raise PairError(
            f"the old photo ({old_gsd_m:.3g} m) is finer than the new ({new_gsd_m:.3g} m): swap them?"
        )
    if target_m < 0.9 * new_gsd_m:
        raise PairError(
            f"--gsd {target_m:.3g} is finer than the new photo ({new_gsd_m:.3g} m): use a larger one"
        )
