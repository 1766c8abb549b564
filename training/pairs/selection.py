"""The selection of chips: which are made and kept, and the reasons why others are dropped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_geom
from shapely import GEOSException, prepare, union_all
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from training.data.manifest import Bounds, Chip
from training.errors import PairError
from training.measure.register import LocalShift
from training.pairs.grid import Grid

Key = tuple[int, int]

NODATA: Final = "no data or black"
FLAT: Final = "filled with one colour"
LOW_CONFIDENCE: Final = "low confidence"
WARPED: Final = "turned or warped"
RESIDUAL_SHIFT: Final = "residual shift"
CHANGED: Final = "changed"


# The shift may differ this much between a chip's centre and its edge.
MAX_WARP_PX: Final = 2.5
# What phase correlation may still find in the finished chip.
MAX_RESIDUAL_PX: Final = 1.0
# Chips go that are this many deviations above the median change, were they more than the share asked for.
_OUTLYING: Final = 4.0


def why_dropped(shift: LocalShift, size_px: int, residual: LocalShift, min_confidence: float) -> str:
    """Why a training chip is badly registered; empty where it is not.

    Args:
        shift: the chip's, see `training.measure.register`.
        size_px: side of the chip.
        residual: what phase correlation still finds in the finished chip.
        min_confidence: of either shift; less counts as none.
    """
    warp_px = float(np.hypot.reduce(shift.warp)) / math.sqrt(2) * size_px / 2
    if warp_px > MAX_WARP_PX:
        return WARPED
    if shift.confidence < min_confidence:
        return LOW_CONFIDENCE
    if residual.confidence >= min_confidence and math.hypot(residual.dx_px, residual.dy_px) > MAX_RESIDUAL_PX:
        return RESIDUAL_SHIFT
    return ""


def read_areas(path: Path, crs: CRS) -> BaseGeometry:
    """The polygons of a GeoJSON file, in a CRS. Without an old-style `crs` member its coordinates are degrees.

    Raises:
        PairError: it is not a GeoJSON file of polygons.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        name = document.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
        source = CRS.from_user_input(name)
        features = document.get("features", [document])
        geometries = [feature.get("geometry", feature) for feature in features]
        kinds = {geometry["type"] for geometry in geometries}
        if not kinds or kinds - {"Polygon", "MultiPolygon"}:
            raise PairError(
                f"{path.name} holds {', '.join(sorted(kinds)) or 'nothing'}: draw polygons around unchanged ground"
            )
        polygons = [shape(transform_geom(source, crs, geometry)) for geometry in geometries]
        area: BaseGeometry = union_all([polygon.buffer(0) for polygon in polygons])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CRSError, GEOSException) as error:
        raise PairError(
            f"{path.name} is not a GeoJSON file of polygons: export it as GeoJSON, EPSG:4326, from your GIS"
        ) from error
    return area


def plan_chips(grid: Grid, areas: BaseGeometry | None, validation: Bounds | None) -> dict[Key, str]:
    """Every chip to make with its split; those in the gap around the validation block are left out.

    Args:
        grid: of the site.
        areas: only chips wholly inside are made; by default all.
        validation: block kept for validation, in the grid's CRS; by default a southern band with a fifth of the
            chips.

    Raises:
        PairError: nothing is left for training or for validation.
    """
    keys = list(grid.chips())
    if areas is not None:
        prepare(areas)
        keys = [key for key in keys if areas.contains(box(*grid.bounds(*key)))]
        if not keys:
            raise PairError(
                f"no chip of {grid.size_px} px lies wholly inside --areas: "
                "draw larger ones, or use a smaller --size or --step"
            )
    if validation:
        _check_block(grid, validation)
    block = validation or southern_fifth(grid, keys)
    splits = {key: split for key in keys if (split := split_of(grid, key, block))}
    for wanted in ("train", "validation"):
        if wanted not in splits.values():
            raise PairError(
                f"no chip is left for {'training' if wanted == 'train' else wanted}: "
                "choose another --validation block, or a smaller --size or --step"
            )
    return splits


def _check_block(grid: Grid, block: Bounds) -> None:
    """Refuse a block that is none, or that lies elsewhere."""
    (left, _, _, top), (_, bottom, right, _) = grid.bounds(0, 0), grid.bounds(grid.columns - 1, grid.rows - 1)
    west, south, east, north = block
    if west >= right or east <= left or south >= top or north <= bottom or west >= east or south >= north:
        raise PairError(
            f"the --validation block {west:g} {south:g} {east:g} {north:g} lies outside of the ground that both "
            f"photographs show, {left:.10g} {bottom:.10g} {right:.10g} {top:.10g} (west, south, east, north in the new "
            "photo's CRS): give a block in it"
        )


def southern_fifth(grid: Grid, keys: Sequence[Key]) -> Bounds:
    """A band over the whole width that holds the southern fifth of the chips."""
    first_row = sorted(row for _, row in keys)[-max(len(keys) // 5, 1)]
    left, _, _, top = grid.bounds(0, first_row)
    _, bottom, right, _ = grid.bounds(grid.columns - 1, grid.rows - 1)
    return left, bottom, right, top


def split_of(grid: Grid, key: Key, block: Bounds) -> str | None:
    """`validation` inside the block, `None` in the gap of one chip around it, else `train`."""
    left, bottom, right, top = grid.bounds(*key)
    west, south, east, north = block
    slack = grid.pixel / 2
    if left >= west - slack and right <= east + slack and bottom >= south - slack and top <= north + slack:
        return "validation"
    gap = grid.size_px * grid.pixel - slack
    apart = right <= west - gap or left >= east + gap or top <= south - gap or bottom >= north + gap
    return "train" if apart else None


def change_limit(changes: Sequence[float], share: float) -> float:
    """Above it a chip counts as changed: the quantile that drops `share`, or less where more are outliers."""
    if not changes or share == 0:
        return 1.0
    median = float(np.median(changes))
    deviation = 1.4826 * float(np.median(np.abs(np.asarray(changes) - median)))
    # At least a hundredth of the ground: where nothing changed at all, the deviation is next to nothing.
    return min(float(np.quantile(changes, 1 - share)), median + max(_OUTLYING * deviation, 0.01))


def drop_changed(chips: Sequence[Chip], share: float) -> tuple[list[Chip], float]:
    """Drop the most changed training chips; returns all chips and the limit.

    Validation chips all stay: ground changes there too, and a score must not profit from leaving it out.
    """
    limit = change_limit([chip.change for chip in chips if chip.split == "train"], share)
    return [
        replace(chip, split="dropped", reason=CHANGED)
        if chip.split == "train" and chip.change > limit
        else chip
        for chip in chips
    ], limit
