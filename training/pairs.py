"""Two photographs of the same ground to registered, unchanged, split chips with a manifest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine, array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from training.errors import DatasetError, PairError
from training.register import Shift, correlation, correlation_surface, edges, shift_field

UInt8Array = npt.NDArray[np.uint8]
Bounds = tuple[float, float, float, float]

MANIFEST: Final = "manifest.jsonl"
SITE: Final = "site.json"
# Black wedges have no nodata tag; a chip with more black than this is dropped.
_MAX_BLACK: Final = 0.005
# Of the transformer; rasterio cannot take 0, and this is exact for every purpose.
_WARP_TOLERANCE_PX: Final = 1e-4


@dataclass(frozen=True)
class Chip:
    """One line of the manifest; `bounds` in the grid's CRS, the shift in pixels of the grid."""

    name: str
    column: int
    row: int
    bounds: Bounds
    split: str
    dx_px: float
    dy_px: float
    confidence: float
    change: float


@dataclass(frozen=True)
class Grid:
    """The common grid: the new photo's CRS, at the target GSD, over the ground that both show.

    `pixel` is in units of the CRS; `gsd_m` is the same in metres, `old_gsd_m` that of the old photo.
    """

    crs: CRS
    pixel: float
    left: float
    top: float
    columns: int
    rows: int
    size_px: int
    gsd_m: float
    old_gsd_m: float

    def transform(self, column: int, row: int, margin_px: int, dx_px: float, dy_px: float) -> Affine:
        """Geotransform of a chip with a margin around it, moved by a shift in pixels."""
        x = self.left + (column * self.size_px - margin_px + dx_px) * self.pixel
        y = self.top - (row * self.size_px - margin_px + dy_px) * self.pixel
        return Affine(self.pixel, 0, x, 0, -self.pixel, y)

    def bounds(self, column: int, row: int) -> Bounds:
        """Bounds of a chip: left, bottom, right, top."""
        left, bottom, right, top = array_bounds(
            self.size_px, self.size_px, self.transform(column, row, 0, 0.0, 0.0)
        )
        return left, bottom, right, top

    def chips(self) -> Iterator[tuple[int, int]]:
        """Every chip as (column, row)."""
        return ((column, row) for row in range(self.rows) for column in range(self.columns))


def metres_per_unit(crs: CRS, latitude: float) -> float:
    """Ground metres of one CRS unit: feet are converted, and Web Mercator shrinks with cos(latitude).

    Raises:
        PairError: the CRS is geographic.
    """
    if not crs.is_projected:
        raise PairError(
            f"the new photo's CRS {crs.to_string()[:40]} is not projected: warp it to a projected one first"
        )
    _, factor = crs.linear_units_factor
    mercator = crs.to_epsg() in (3857, 900913)
    return float(factor) * (math.cos(math.radians(latitude)) if mercator else 1.0)


def _check(path: Path, source: Any) -> None:
    if source.crs is None:
        raise PairError(f"{path.name} has no CRS: give it one with gdal_edit.py -a_srs EPSG:CODE {path.name}")
    if source.count not in (1, 3, 4):
        raise PairError(
            f"{path.name} has {source.count} bands: choose three with gdal_translate -b 1 -b 2 -b 3"
        )
    if source.dtypes[0] != "uint8":
        raise PairError(
            f"{path.name} is {source.dtypes[0]}: scale it to bytes with gdal_translate -ot Byte -scale"
        )


def _latitude(source: Any) -> float:
    _, south, _, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    return float(south + north) / 2


def common_grid(old_path: Path, new_path: Path, gsd_m: float | None, size_px: int) -> Grid:
    """Plan the grid, and refuse what makes no pairs before any work.

    Args:
        old_path, new_path: the two photographs.
        gsd_m: target ground sample distance; by default the new photo's own.
        size_px: side of a chip.

    Raises:
        PairError: no CRS, unfit bands, no overlap, old finer than new, or a target finer than the new photo.
    """
    with rasterio.open(old_path) as old, rasterio.open(new_path) as new:
        _check(old_path, old)
        _check(new_path, new)
        unit_m = metres_per_unit(new.crs, _latitude(new))
        new_gsd_m = new.res[0] * unit_m
        left, bottom, right, top = transform_bounds(old.crs, new.crs, *old.bounds)
        old_gsd_m = math.sqrt((right - left) * (top - bottom) / (old.width * old.height)) * unit_m
        target_m = gsd_m or new_gsd_m
        if old_gsd_m < 0.9 * new_gsd_m:
            raise PairError(
                f"the old photo ({old_gsd_m:.3g} m) is finer than the new ({new_gsd_m:.3g} m): swap them?"
            )
        if target_m < 0.9 * new_gsd_m:
            raise PairError(
                f"--gsd {target_m:.3g} is finer than the new photo ({new_gsd_m:.3g} m): use a larger one"
            )
        left, bottom = max(left, new.bounds.left), max(bottom, new.bounds.bottom)
        right, top = min(right, new.bounds.right), min(top, new.bounds.top)
        pixel = target_m / unit_m
        columns, rows = (int(length / pixel + 1e-6) // size_px for length in (right - left, top - bottom))
        if columns < 1 or rows < 1:
            raise PairError(
                f"the photographs overlap on less than one chip of {size_px} px at {target_m:.3g} m: "
                "check their CRS, or use a smaller --size"
            )
        return Grid(new.crs, pixel, left, top, columns, rows, size_px, target_m, old_gsd_m)


class _Photo(AbstractContextManager["_Photo"]):
    """Reads any window of a photograph in the grid, resampled once by cubic convolution, as the server does."""

    def __init__(self, path: Path, crs: CRS) -> None:
        self._source = rasterio.open(path)
        self._crs = crs
        colours = [i + 1 for i, c in enumerate(self._source.colorinterp) if c != ColorInterp.alpha]
        self._bands = colours[:3] if len(colours) >= 3 else [colours[0]] * 3

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def read(self, transform: Affine, size_px: int) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
        """uint8 [size, size, 3] and bool [size, size], true where there is data."""
        with WarpedVRT(
            self._source,
            crs=self._crs,
            transform=transform,
            width=size_px,
            height=size_px,
            resampling=Resampling.cubic,
            add_alpha=not any(c == ColorInterp.alpha for c in self._source.colorinterp),
            tolerance=_WARP_TOLERANCE_PX,
        ) as vrt:
            pixels = vrt.read(self._bands)
            valid = vrt.dataset_mask() > 0
        return np.ascontiguousarray(pixels.transpose(1, 2, 0)), valid


def _usable(old: UInt8Array, new: UInt8Array, valid: npt.NDArray[np.bool_]) -> bool:
    black = (old.max(axis=2) < 4) | (new.max(axis=2) < 4)
    return bool(valid.all()) and float(black.mean()) <= _MAX_BLACK


def _split(grid: Grid, column: int, row: int, validation: Bounds) -> str | None:
    """`validation` inside the block, `None` in the gap of one chip around it, else `train`."""
    left, bottom, right, top = grid.bounds(column, row)
    west, south, east, north = validation
    gap = grid.size_px * grid.pixel
    if left >= west - 1e-6 and right <= east + 1e-6 and bottom >= south - 1e-6 and top <= north + 1e-6:
        return "validation"
    apart = (
        right <= west - gap / 2
        or left >= east + gap / 2
        or top <= south - gap / 2
        or bottom >= north + gap / 2
    )
    return "train" if apart else None


def default_validation(grid: Grid) -> Bounds:
    """The southern fifth of the site."""
    rows = max(grid.rows // 5, 1)
    left, bottom, _, _ = grid.bounds(0, grid.rows - 1)
    _, _, right, top = grid.bounds(grid.columns - 1, grid.rows - rows)
    return left, bottom, right, top


def make_pairs(
    old_path: Path,
    new_path: Path,
    out: Path,
    *,
    gsd_m: float | None = None,
    size_px: int = 500,
    max_shift_m: float = 8.0,
    min_confidence: float = 4.0,
    drop_changed: float = 0.15,
    validation: Bounds | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> list[Chip]:
    """Cut registered chips of both photographs.

    Args:
        old_path, new_path: the photographs, each with a CRS.
        out: a folder for `old/NAME.png`, `new/NAME.png` and the manifest; made if missing.
        gsd_m: target ground sample distance in metres, by default the new photo's.
        size_px: side of a chip.
        max_shift_m: longest local shift that is believed.
        min_confidence: training chips whose shift is less certain are left out, see `training.register.Shift`.
        drop_changed: share of the other training chips, the most changed, that is left out.
        validation: bounds in the new photo's CRS of the block kept for validation; by default the southern fifth.
        progress: called with stage, chips done and chips in all.

    Returns:
        The chips of the manifest.

    Raises:
        PairError: the photographs make no pairs.
    """
    grid = common_grid(old_path, new_path, gsd_m, size_px)
    block = validation or default_validation(grid)
    planned = {key: split for key in grid.chips() if (split := _split(grid, *key, block))}
    reach_px = math.ceil(max_shift_m / grid.gsd_m)
    with _Photo(old_path, grid.crs) as old, _Photo(new_path, grid.crs) as new:
        surfaces = {}
        for done, key in enumerate(planned):
            progress("register", done, len(planned))
            surfaces[key] = _surface(grid, old, new, key, reach_px)
        field = shift_field(surfaces)
        chips = []
        for folder in (out / "old", out / "new"):
            folder.mkdir(parents=True, exist_ok=True)
        for done, (key, split) in enumerate(planned.items()):
            progress("cut", done, len(planned))
            chip = _cut(grid, old, new, key, split, field[key], out)
            chips += [chip] if chip else []
    kept = _drop(chips, min_confidence, drop_changed)
    if not any(chip.split == "train" for chip in kept):
        raise PairError(
            "no chip is left for training: the photographs overlap on nodata only, or --size is too large"
        )
    _write_manifest(out, kept, grid, old_path, new_path)
    return kept


def _surface(
    grid: Grid, old: _Photo, new: _Photo, key: tuple[int, int], reach_px: int
) -> npt.NDArray[np.float32]:
    margin = max(grid.size_px // 2, reach_px + 1)
    size = grid.size_px + 2 * margin
    transform = grid.transform(*key, margin, 0.0, 0.0)
    return correlation_surface(old.read(transform, size)[0], new.read(transform, size)[0], reach_px)


def _cut(
    grid: Grid, old: _Photo, new: _Photo, key: tuple[int, int], split: str, shift: Shift, out: Path
) -> Chip | None:
    column, row = key
    # The shift moves the reading window, so that the old photo is resampled once and not twice.
    old_rgb, old_valid = old.read(grid.transform(column, row, 0, shift.dx_px, shift.dy_px), grid.size_px)
    new_rgb, new_valid = new.read(grid.transform(column, row, 0, 0.0, 0.0), grid.size_px)
    if not _usable(old_rgb, new_rgb, old_valid & new_valid):
        return None
    name = f"{column:04d}_{row:04d}"
    for folder, rgb in (("old", old_rgb), ("new", new_rgb)):
        Image.fromarray(rgb).save(out / folder / f"{name}.png", compress_level=1)
    change = 1.0 - correlation(edges(old_rgb), edges(new_rgb))
    return Chip(
        name, column, row, grid.bounds(column, row), split, shift.dx_px, shift.dy_px, shift.confidence, change
    )


def _drop(chips: list[Chip], min_confidence: float, share: float) -> list[Chip]:
    """Mark badly registered, then the most changed training chips as dropped.

    Validation chips all stay: ground changes there too, and a score must not profit from leaving it out.
    """
    sure = [chip for chip in chips if chip.split == "train" and chip.confidence >= min_confidence]
    limit = float(np.quantile([chip.change for chip in sure], 1 - share)) if sure else 0.0
    return [
        replace(chip, split="dropped")
        if chip.split == "train" and (chip.confidence < min_confidence or chip.change > limit)
        else chip
        for chip in chips
    ]


def _write_manifest(out: Path, chips: list[Chip], grid: Grid, old: Path, new: Path) -> None:
    lines = [json.dumps(asdict(chip), sort_keys=True) for chip in chips]
    site = {
        "crs": grid.crs.to_wkt(),
        "gsd_m": grid.gsd_m,
        "size_px": grid.size_px,
        "old": old.name,
        "new": new.name,
        "old_gsd_m": grid.old_gsd_m,
    }
    (out / SITE).write_text(json.dumps(site, indent=2) + "\n")
    (out / MANIFEST).write_text("\n".join(lines) + "\n")


def read_manifest(folder: Path) -> list[Chip]:
    """The chips of a folder that `make_pairs` wrote.

    Raises:
        DatasetError: the folder has no readable manifest.
    """
    try:
        lines = (folder / MANIFEST).read_text().splitlines()
        return [
            Chip(**(document | {"bounds": tuple(document["bounds"])})) for document in map(json.loads, lines)
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{folder.name} holds no pairs: make them with `orthosharp-train pairs`"
        ) from error


def read_site(folder: Path) -> dict[str, Any]:
    """What all chips of a folder have in common: crs, gsd_m, old_gsd_m, size_px, names of the photographs.

    Raises:
        DatasetError: the folder has no readable site file.
    """
    try:
        site: dict[str, Any] = json.loads((folder / SITE).read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder.name} holds no pairs: make them with `orthosharp-train pairs`"
        ) from error
    return site
