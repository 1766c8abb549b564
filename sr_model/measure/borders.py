"""Borders of one value round a photograph: the black corners of a turned photo, the white margin of a scanned sheet.

Such a border is found in a small copy and confirmed at full size (`Border.hidden_in`). It is connected to the edge,
nearly constant, the darkest or the brightest of the picture, and bounded by long straight lines that it changes at
abruptly. A shadow, a lake or a roof lacks at least one of these, even where it touches the edge.

This module opens no files: callers pass the copy, and a function that turns a mask into polygons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from sr_model.measure.grainy_borders import MOST_GRAIN, SPECK_PX, find_grainy
from sr_model.measure.regions import CROSS, corners_in, from_edge, ring, without_specks
from sr_model.measure.small_copy import FloatArray, Mask, SmallCopy, Values, deviation, dilated, opened
from sr_model.measure.straight_lines import Outlines, straightness

# Values of a window of full size; where a border lies in it; and what of it is not hidden by the file.
Sample = tuple[Values, Mask, Mask]

# All tolerances are in grey levels: 1/255 of the range of values.
# What a border may differ from its value to be looked at, and what lossy compression leaves of it far from its rim.
_LOOSE: Final = 8.0
_MOST_NOISE: Final = 6.0
_TYPICAL_NOISE: Final = 1.0
# A border is at least this share of the photograph, and leaves at least this share of it.
_LEAST_SHARE: Final = 0.0005
_LEAST_LEFT: Final = 0.02
# Of a border without noise, this share has exactly one value.
_EXACT_SHARE: Final = 0.9
# Of one that is neither black nor white, this share has: lossy compression smooths water nearly as well.
_CONSTANT_SHARE: Final = 0.99
# Of the line between border and picture, this share is straight.
_STRAIGHT_SHARE: Final = 0.5
# How far the picture beside a border differs from it, where the border has noise.
_LEAST_STEP: Final = 12.0
# How far ringing of lossy compression reaches from a border, and how strong the ringing is that is hidden.
RINGING_PX: Final = 8
_MOST_RINGING: Final = 32.0
_RINGING_SHARE: Final = 0.4
_FAINT_RINGING: Final = 4.0
# The rim of a border, which ringing and overviews change most.
_RIM_PX: Final = 3
# How far a rim that is frayed, by compression or resampling, is followed into the picture; and the share of its pixels
# between border and picture that tells it.
_FRAYED_PX: Final = 6
_FRAYED_SHARE: Final = 0.3
# Ringing that the outline of a picture keeps is narrower than this.
_RAGGED_PX: Final = 7
# Pieces of a border of this share of the photograph are left alone, as are holes without data below that one.
_SMALL_PIECE: Final = 0.0002
_LARGE_HOLE: Final = 0.005
_SQUARE: Final = ndimage.generate_binary_structure(2, 2)


@dataclass(frozen=True, eq=False)
class Border:
    """A border.

    Attributes:
        value: its value in every band.
        level: one grey level in values of the file.
        region: bool [height, width] of the small copy: where it lies.
        tolerance: by how much its own pixels differ from its value.
        fringe: by how much the pixels at its rim do, which lossy compression has mixed with the picture.
        rim_px: pixels beyond the rim that are hidden too, at full size.
        is_fringe: the file itself hides it, all but its rim.
        is_grainy: its pixels have a scanner's noise.
    """

    value: float
    level: float
    region: Mask
    tolerance: float
    fringe: float = 0.0
    rim_px: int = 0
    is_fringe: bool = False
    is_grainy: bool = False

    @property
    def loose(self) -> float:
        """What pixels may differ from its value to be looked at."""
        return max(self.tolerance, _LOOSE * self.level)

    def hidden_in(self, values: Values, region: Mask, near: Mask) -> Mask:
        """Where a window of full size shows the border.

        Args:
            values: [height, width, bands].
            region: bool [height, width], the small copy's region in this window, from `spread`.
            near: the same, grown by what the rim may be away from it.
        """
        away = deviation(values, self.value)
        core = region & (away <= self.tolerance)
        if core.all() or not core.any():
            return core
        # Grown at full size by what connects, to make up for the coarse edge of the copy.
        grown = ndimage.binary_propagation(core, mask=near & (away <= self.tolerance), structure=CROSS)
        if self.fringe > self.tolerance:
            grown = _grown(grown, away, self.fringe, _FRAYED_PX)
        if self.is_grainy:
            # A few pixels have more noise than all others.
            grown = without_specks(grown, SPECK_PX)
        if self.rim_px:
            grown = dilated(grown, self.rim_px)
        hidden: Mask = grown
        return hidden


def find_borders(copy: SmallCopy, full_range: tuple[float, float] | None, outlines: Outlines) -> list[Border]:
    """The black and the white border of a photograph, as far as a small copy shows them; see `confirm`.

    Args:
        copy: the whole photograph.
        full_range: the lowest and highest value that the file can have; None if it does not tell.
        outlines: of a mask.
    """
    if not copy.valid.any():
        return []
    low, high = _extremes(copy, full_range)
    level = (high - low) / 255.0
    if level <= 0:
        return []
    found: list[Border] = []
    # A black collar may lie inside a white margin, or the other way round: what is found is hidden, and looked past.
    for value in (low, high, low, high):
        if any(abs(border.value - value) <= _LOOSE * level for border in found):
            continue
        for left in _looked_past(copy, found):
            border = _find(left, value, level, full_range, _RIM_PX if found else 0, outlines)
            border = border or _grainy(left, value, level, outlines)
            if border is not None:
                found.append(_regrown(border, copy, found))
                break
    return found


def confirm(border: Border, samples: list[Sample], *, lossy: bool) -> Border | None:
    """Measure a border's noise and its rim at full size; None if it is not nearly constant there.

    Args:
        border: as found in a small copy.
        samples: windows of full size along its rim.
        lossy: whether the file's compression changes values. If it does not say so, the rim may still show it.
    """
    away = [deviation(values, border.value) for values, _, _ in samples]
    regions = [region & (one <= border.loose) for one, (_, region, _) in zip(away, samples, strict=True)]
    noise = _percentile(away, [_deep(region) for region in regions], 99.0, 0.0)
    if noise > (MOST_GRAIN if border.is_grainy else _MOST_NOISE) * border.level:
        return None
    if border.is_grainy:
        return replace(border, tolerance=max(border.tolerance, noise + 1.5 * border.level))
    tolerance = max(border.tolerance, noise + 1.5 * border.level if noise else 0.0)
    cores = [region & (one <= tolerance) for one, region in zip(away, regions, strict=True)]
    shown = [valid & ~core for (_, _, valid), core in zip(samples, cores, strict=True)]
    behind = [ring(core, one, RINGING_PX, 2 * RINGING_PX) for core, one in zip(cores, shown, strict=True)]
    ringing = _RINGING_SHARE * _percentile(away, behind, 5.0, 0.0)
    ringing = min(_MOST_RINGING * border.level, ringing)
    first = [ring(core, one, 1, 1) for core, one in zip(cores, shown, strict=True)]
    rim = np.concatenate(
        [one[ring] for one, ring in zip(away, first, strict=True)] or [np.zeros(0, np.float32)]
    )
    frayed = bool(rim.size) and float((rim <= ringing).mean()) >= _FRAYED_SHARE
    if not (lossy or frayed):
        return None if border.is_fringe else replace(border, tolerance=tolerance, is_grainy=noise > 0)
    if tolerance == 0:
        # What has the nodata value is known not to be ground, so more may be taken for it.
        tolerance = min(ringing, (_FAINT_RINGING if border.is_fringe else 1.5) * border.level)
    return replace(border, tolerance=tolerance, fringe=max(ringing, tolerance), rim_px=1)


def border_of_value(copy: SmallCopy, value: float, tolerance: float) -> Border | None:
    """What is within a tolerance of a value and connected to the edge; None if there is no such pixel."""
    region = from_edge((deviation(copy.values, value) <= tolerance) & copy.valid, ~copy.valid)
    return Border(value, tolerance, region, tolerance, fringe=tolerance) if region.any() else None


def rim_of_nodata(copy: SmallCopy, nodata: float, level: float) -> Border | None:
    """The rim of what has the nodata value, which compression may have left nearly, not exactly so; see `confirm`.

    Args:
        copy: the whole photograph.
        nodata: the file's nodata value.
        level: one grey level in values of the file.
    """
    exact = deviation(copy.values, nodata) <= 0
    region = from_edge(exact, np.zeros(exact.shape, np.bool_)) | _pieces_of(exact, _LARGE_HOLE * exact.size)
    if not region.any():
        return None
    return Border(nodata, level, region, 0.0, is_fringe=True)


def _extremes(copy: SmallCopy, full_range: tuple[float, float] | None) -> tuple[float, float]:
    shown = copy.values if copy.valid.all() else copy.values[copy.valid]
    low, high = float(shown.min()), float(shown.max())
    if full_range is None:
        return low, high
    # JPEG moves the extremes a little.
    slack = _LOOSE * (high - low) / 255
    first, last = full_range
    return (first if low <= first + slack else low), (last if high >= last - slack else high)


def _looked_past(copy: SmallCopy, found: list[Border]) -> Iterator[SmallCopy]:
    """The copy without the borders that were found, then without what lossy compression may have changed beside them.

    Ringing reaches to the end of a block from each of two pixels, that of the border and that beside it.
    """
    if not found:
        yield copy
        return
    regions = np.logical_or.reduce([border.region for border in found])
    for reach in (1, math.ceil(2 * RINGING_PX / min(copy.factor))):
        left = replace(copy, valid=copy.valid & ~dilated(regions, reach))
        if left.valid.any():
            yield left


def _regrown(border: Border, copy: SmallCopy, before: list[Border]) -> Border:
    """A border with those of its pixels that were hidden because they lie beside another border."""
    if not before:
        return border
    own = (deviation(copy.values, border.value) <= border.tolerance) & copy.valid
    region = ndimage.binary_propagation(border.region, mask=own | border.region, structure=CROSS)
    return replace(border, region=region)


def _own_value(values: Values, value: float) -> float:
    """The value that a border of exactly one value has, which may be a little off the extreme that was looked for."""
    found, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    return float(found[most]) if counts[most] >= _CONSTANT_SHARE * values.size else value


def _find(
    copy: SmallCopy,
    value: float,
    level: float,
    full_range: tuple[float, float] | None,
    ragged_px: int,
    outlines: Outlines,
) -> Border | None:
    """A border near a value; what the copy shows may begin so many pixels later here than there."""
    away = deviation(copy.values, value)
    region = from_edge((away <= _LOOSE * level) & copy.valid, ~copy.valid)
    if region.mean() < _LEAST_SHARE:
        return None
    core = _deep(region) if _deep(region).any() else region
    own = _own_value(copy.values[core], value)
    if own != value:
        value, away = own, deviation(copy.values, own)
        region = from_edge((away <= _LOOSE * level) & copy.valid, ~copy.valid)
        core = _deep(region) if _deep(region).any() else region
    noise = float(np.percentile(away[core], 99)) / level
    exact = float((away[core] == 0).mean())
    # Water may be as smooth, but not as black.
    typical = float(np.median(np.abs(copy.values[core].astype(np.float32) - np.float32(value)))) / level
    if noise > _MOST_NOISE or typical > _TYPICAL_NOISE:
        return None
    tolerance = 0.0 if exact >= 0.99 else min(_LOOSE, noise + 1.5) * level
    region = from_edge((away <= tolerance) & copy.valid, ~copy.valid)
    region = _pieces_of(region, max(4.0, _SMALL_PIECE * region.size))
    left = copy.valid & ~region
    if region.mean() < _LEAST_SHARE or left.sum() < _LEAST_LEFT * region.size:
        return None
    # A bright roof in one corner is not a border, unless it has the very value that programs fill corners with.
    corners = corners_in(dilated(region, ragged_px) if ragged_px else region, copy.valid)
    least = 2 if full_range is not None and value not in full_range else 1
    if corners < least or not _is_border(copy, region, away / level, exact, corners, outlines):
        return None
    return Border(value, level, region, tolerance)


def _grainy(copy: SmallCopy, value: float, level: float, outlines: Outlines) -> Border | None:
    found = find_grainy(copy, value, level, outlines)
    if found is None or found.region.mean() < _LEAST_SHARE:
        return None
    if (copy.valid & ~found.region).sum() < _LEAST_LEFT * found.region.size:
        return None
    return Border(found.value, level, found.region, found.tolerance, is_grainy=True)


def _is_border(
    copy: SmallCopy, region: Mask, levels: FloatArray, exact: float, corners: int, outlines: Outlines
) -> bool:
    """Whether a region that is connected to the edge looks like a border rather than like ground."""
    share, pieces = straightness(region, copy.valid, outlines)
    # Ringing of lossy compression frays the straightest line.
    ringing = _ringing(levels, region, copy.valid)
    whole = _grown(region, levels, ringing, RINGING_PX)
    # What of it is left hangs from the picture by a few pixels.
    trimmed = copy.valid & ~opened(copy.valid & ~whole, _RAGGED_PX // 2)
    share, pieces = max(
        (share, pieces), *(straightness(one, copy.valid, outlines) for one in (whole, trimmed))
    )
    beside = ring(whole, copy.valid, 3, 5)
    if not beside.any():
        return False
    step = float(np.median(levels[beside]))
    if exact >= _EXACT_SHARE:
        enough = corners >= 2 or (corners == 1 and share >= 0.8)
        return enough and share >= _STRAIGHT_SHARE and step >= 4.0
    return corners >= 2 and share >= 0.7 and pieces >= 1 and step >= _LEAST_STEP


def _pieces_of(region: Mask, least_px: float) -> Mask:
    """The connected pieces of a region that have so many pixels."""
    pieces, count = ndimage.label(region, _SQUARE)
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= least_px
    large[0] = False
    kept: Mask = large[pieces]
    return kept


def _grown(region: Mask, away: FloatArray, fringe: float, reach_px: int) -> Mask:
    """A region with its frayed rim: what connects to it and is near in value, the nearer the farther it is away."""
    grown = region
    for step in range(reach_px):
        # Ringing fades; a dark roof beside a black border does not.
        grown = grown | (dilated(grown, 1) & (away <= fringe * (1 - step / reach_px)))
    return without_specks(grown)


def _ringing(away: FloatArray, region: Mask, valid: Mask) -> float:
    """By how much ringing at a border differs from it at most, in the unit of `away`: a share of what lies behind."""
    behind = ring(region, valid, RINGING_PX, 2 * RINGING_PX)
    return _RINGING_SHARE * float(np.percentile(away[behind], 5)) if behind.any() else 0.0


def _deep(region: Mask) -> Mask:
    """A region without its rim, which ringing and overviews change."""
    return ~dilated(~region, _RIM_PX)


def _percentile(values: list[FloatArray], chosen: list[Mask], percent: float, default: float) -> float:
    found = [one[mask] for one, mask in zip(values, chosen, strict=True) if mask.any()]
    return float(np.percentile(np.concatenate(found), percent)) if found else default
