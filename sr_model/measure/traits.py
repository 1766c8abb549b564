"""Traits of a photograph, which do not depend on what it shows: blur, unsharp mask, grain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import ndtr

from sr_model.measure.edges import Edges, Float32Array, IntArray, check_luminance, find_edges
from sr_model.measure.grain import grain_of
from sr_model.measure.spectrum import blur_from_spectrum
from sr_model.measure.supersampled import SUPPORT_PX, Profiles, profiles_of
from sr_model.measure.unsharp_fit import Fit, fit_mask

# A photo whose contrast at the finest period that its pixels could hold is a tenth resolves its pixels.
_LIMIT_CONTRAST: Final = 0.1
# Two crops of one sharpened photograph were estimated at 1.07 and 1.43 of its pixels: a photograph is taken at its word
# unless it clearly resolves less.
_CLEARLY_SOFT: Final = 1.5
# Places looked at in each window, the scale at which they are found, and the least gradient there.
_PLACES: Final = 150
_SCALE_PX: Final = 1.2
_LEAST_STRENGTH: Final = 4.0
# Least step in grey levels, how uneven the plateaus may be in shares of it, and the same where edges are rare.
_LEAST_STEP: Final = 18.0
_UNEVEN: Final = (0.12, 0.2)
_RARE: Final = 40
# So many edges whose plateaus are not burnt do without the others.
_ENOUGH: Final = 20
# Edges that are fitted, and fewer than these tell nothing.
_MOST_EDGES: Final = 200
LEAST_EDGES: Final = 12
# Ground has soft edges too: the photo's blur is that of the lower quartile, so many deviations from the median.
_SHARPER: Final = -0.674
# Blur that is assumed for a photo without measurable edges or texture: that of a sharp one.
_SHARP_PX: Final = 0.5


@dataclass(frozen=True)
class PhotoTraits:
    """Blur, unsharp mask and grain of a photograph; lengths in its own pixels.

    Attributes:
        blur_px: sigma of the Gaussian that lens, film, scan and pixel (0.29 px) blurred edges by, before the mask.
        halo_amount, halo_radius_px: k and r of the unsharp mask x + k (x - G_r x) that it was sharpened with; see
            `sr_model.measure.unsharp_fit` for what an edge can tell of it.
        rise_px: from 10 to 90 % of an edge, as it is seen: blurred and sharpened.
        overshoot: beyond either plateau, share of the step.
        grain: standard deviation of fine detail on smooth ground, grey levels.
        edges: how many edges blur and mask rest on; 0 where they do not come from edges.
        smooth_blocks: how many blocks of 16 px the grain rests on.
        source: `edges`; `spectrum`, where edges are too few: the blur as it is seen, and no mask; `none`, where the
            photo has no texture at all and is taken for a sharp one.
    """

    blur_px: float
    halo_amount: float
    halo_radius_px: float
    rise_px: float
    overshoot: float
    grain: float
    edges: int
    smooth_blocks: int
    source: Literal["edges", "spectrum", "none"]

    @property
    def resolution_px(self) -> float:
        """Side of the largest pixels that keep the detail that the photo resolves, in its own pixels; 1 or more.

        A Gaussian blur of sigma s leaves exp(-2 (pi s f)^2) of the contrast at f cycles per pixel. Pixels of side R
        hold periods down to 2 R; R is such that a tenth of the contrast is left there (MTF10, close to Rayleigh's
        limit): 1.46 s. An unsharp mask raises contrast and not resolution, so it does not count.
        """
        return max(1.0, self.blur_px * math.pi / math.sqrt(2 * math.log(1 / _LIMIT_CONTRAST)))

    @property
    def resolved_px(self) -> float:
        """What it is taken to resolve: `resolution_px` if that is clearly more than a pixel, else its pixel."""
        return self.resolution_px if self.resolution_px >= _CLEARLY_SOFT else 1.0


def estimate_blur_and_halo(luminances: Sequence[Float32Array]) -> PhotoTraits:
    """Estimate a photograph's traits from windows of it; the same windows give the same numbers.

    Blur and mask are fitted to the strongest straight edges that have an even plateau on either side (ISO 12233).
    Values at 0 and 255 may be burnt: they count as 'at least so dark, or bright'. On made pictures (200 edges, grain
    of 1.5 grey levels, whites burnt or not) blur errs by less than 15 % from 0.5 to 2 px. Amount and
    radius err by less than 0.25 and 0.3 px where the radius is at least 1.2 times the blur; a narrower mask leaves no
    ring that tells it from less blur, and comes out weaker and wider, with the same edge.

    Args:
        luminances: float32 [h, w] each, 0 to 255, at the photo's own pixels; NaN where there is no data.

    Raises:
        InputError: a luminance is not a floating-point [h, w].
    """
    for luminance in luminances:
        check_luminance(luminance)
    grain, blocks = grain_of(luminances)
    profiles = _best_profiles(luminances)
    if profiles is not None and len(profiles) >= LEAST_EDGES:
        return _from_edges(fit_mask(profiles), grain, blocks)
    blur, squares = blur_from_spectrum(luminances)
    known = blur if squares else _SHARP_PX
    return PhotoTraits(
        blur_px=round(known, 2),
        halo_amount=0.0,
        halo_radius_px=1.0,
        rise_px=round(visible_edge(known, 0, 1)[0], 2),
        overshoot=0.0,
        grain=round(grain, 2),
        edges=0,
        smooth_blocks=blocks,
        source="spectrum" if squares else "none",
    )


def _from_edges(fit: Fit, grain: float, blocks: int) -> PhotoTraits:
    # Rounded, so that the last bits of another linear algebra library make no other photo.
    blur = round(fit.sigma_quantile_px(_SHARPER), 2)
    amount, radius = round(fit.amount, 2), round(fit.radius_px, 2)
    rise, over = visible_edge(blur, amount, radius)
    return PhotoTraits(
        blur_px=blur,
        halo_amount=amount,
        halo_radius_px=radius,
        rise_px=round(rise, 2),
        overshoot=round(over, 3),
        grain=round(grain, 2),
        edges=len(fit.sigma_px),
        smooth_blocks=blocks,
        source="edges",
    )


def _best_profiles(luminances: Sequence[Float32Array]) -> Profiles | None:
    """Select the strongest edges with even plateaus, strongest first."""
    found: list[tuple[Edges, Profiles]] = []
    for luminance in luminances:
        edges = find_edges(
            luminance,
            most=_PLACES,
            scale_px=_SCALE_PX,
            least_strength=_LEAST_STRENGTH,
            margin_px=SUPPORT_PX + 1,
        )
        if len(edges):
            found.append((edges, profiles_of(luminance, edges)))
    if not found:
        return None
    profiles = Profiles.joined([part for _, part in found])
    strength = np.concatenate([edges.strength for edges, _ in found])
    even = _even(profiles)
    strongest = even[np.argsort(-strength[even], kind="stable")][:_MOST_EDGES]
    return profiles.take(strongest)


def _even(profiles: Profiles) -> IntArray:
    """Edges with even plateaus, burnt ones only where others are rare: of those the step is unknown."""
    uneven = _unevenness(profiles)
    even = np.flatnonzero(uneven < _UNEVEN[0])
    whole = even[~profiles.has_burnt_plateau()[even]]
    if len(whole) >= _ENOUGH:
        return whole
    if len(even) < _RARE:
        even = np.argsort(uneven, kind="stable")[:_RARE]
        even = even[uneven[even] < _UNEVEN[1]]
    return even


def _unevenness(profiles: Profiles) -> Float32Array:
    """Deviation within a plateau, as a share of the step: float [E], infinite where there is no step."""
    dark, bright, deviation = profiles.plateaus()
    step = bright - dark
    with np.errstate(invalid="ignore"):
        is_step = step >= _LEAST_STEP
    return np.where(is_step, deviation / np.where(is_step, step, 1), np.inf)


def visible_edge(blur_px: float, amount: float, radius_px: float) -> tuple[float, float]:
    """Rise from 10 to 90 % in pixels, and overshoot in shares of the step, of an edge under blur and mask."""
    t = np.linspace(0, 4 * math.hypot(blur_px, radius_px), 2001)
    edge = (1 + amount) * ndtr(t / blur_px) - amount * ndtr(t / math.hypot(blur_px, radius_px))
    # The other half is its mirror image.
    half = float(np.interp(0.9, np.maximum.accumulate(edge), t))
    return 2 * half, max(float(edge.max()) - 1, 0.0)
