"""Edges from the network, colours from the photograph: how a restored picture keeps its photograph's means.

The change that a network makes loses its own low-pass, in luminance and in chroma, so that means over about eight of
the photograph's pixels stay as they were: no cast, no blotches, and low zooms agree. The photograph's chroma, mottled
by film and compression, is then cleaned by a guided filter with the restored luminance as guide (He, Sun and Tang
2013), on means over blocks (He and Sun 2015). Luminance is that of Rec. 601; the chroma of a band is its difference
from that. Before all of this, a share of the change is left out where the photograph's own texture is to stay, see
`sr_model.texture`.

Blocks lie on the global pixel grid, as windows begin at multiples of the stride. `sr_model.tensor_binding` does the
same on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sr_model.boxes import block_means, box_means, enlarge_columns, enlarge_rows, two_boxes
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA, Float32Array, UInt8Array, check_finite
from sr_model.spec import ModelSpec
from sr_model.texture import own_texture_share

# Side of the blocks whose means are filtered; the products of guide and chroma come of finer ones.
CELL_PX: Final = 4
FINE_PX: Final = 2
# Variance of the guide, in grey levels squared, below which chroma is smoothed instead of following it.
SMOOTHING: Final = 40.0
# Context that binding needs, up to the given ratio. Its filters are wider, but their ends weigh little: with 24 px of
# context instead of 48, pixels of two photographs differed by 0.02 grey levels at the border, and by 0.2 at most.
REACH_PX: Final = 24
_REACH_UP_TO: Final = 2.83

_STRIP_PX: Final = 1 << 15


@dataclass(frozen=True)
class FilterRadii:
    """Radii of box filters in cells of `CELL_PX`.

    Attributes:
        lowpass: two boxes, one after the other; together they have the variance of a Gaussian whose deviation is four
            of the photograph's pixels.
        guided: of the guided filter, five of the photograph's pixels.
    """

    lowpass: tuple[int, int]
    guided: int

    @classmethod
    def of(cls, spec: ModelSpec, ratio: float) -> FilterRadii:
        """Return the radii for a ratio, or for the nearest one of training: the halo covers no wider filters."""
        ratio = spec.trained_ratio(ratio)
        both = round(2 * ratio)
        return cls((both // 2, both - both // 2), round(1.25 * ratio - 0.375))


def reach_px(spec: ModelSpec) -> int:
    """Context that binding needs at the largest ratio that training saw, in pixels of the output."""
    return math.ceil(REACH_PX * max(1.0, spec.ratio_range[1] / _REACH_UP_TO))


def network_trim_px(spec: ModelSpec, trim_px: int) -> int:
    """Width of the border that the network itself may leave out, where the result lacks `trim_px` on each side."""
    if spec.colours == "network":
        return trim_px
    return max(0, trim_px - reach_px(spec)) // spec.stride * spec.stride


def bind_colours(
    planes: Float32Array,
    correction: Float32Array,
    spec: ModelSpec,
    photos: Sequence[PhotoContext],
    trim_px: int,
) -> UInt8Array:
    """A restored picture with the network's edges and the photograph's colours.

    Args:
        planes: float32 [B, planes, H, W], normalised: the input of the network.
        correction: float32 [B, 3, h, w], of the middle of `planes`, in units of the normalised picture: the network's
            output.
        spec: of the network.
        photos: one for each window.
        trim_px: width of the border of `planes` that the result lacks on each side; at least as wide as the border
            that the correction lacks.

    Returns:
        uint8 [B, H - 2 trim_px, W - 2 trim_px, 3], rounded; where a band would leave 0 to 255, chroma shrinks.

    Raises:
        InferenceError: a value of the correction is not finite.
    """
    batch, _, height, width = planes.shape
    cut = (height - correction.shape[2]) // 2
    bound = np.empty((batch, height - 2 * trim_px, width - 2 * trim_px, 3), np.uint8)
    for number, photo in enumerate(photos):
        seen = planes[number, :3, cut : height - cut, cut : width - cut]
        kept = _kept_change(planes[number, :3], cut, spec, photo.ratio)
        made = _NetworkOutput.of(seen, correction[number], kept, spec)
        radii = FilterRadii.of(spec, photo.ratio)
        draw = _draw_grey if photo.grey else _draw_colours
        draw(made, radii, trim_px - cut, bound[number])
    return bound


def _kept_change(
    planes: Float32Array, cut: int, spec: ModelSpec, ratio: float
) -> Iterator[tuple[slice, Float32Array | None]]:
    """Strips of a window without `cut` pixels on each side, and the share of its change that each keeps.

    The share is float32 [rows, w], or None where all is kept.
    """
    _, height, width = planes.shape
    if spec.keeps_texture:
        own = own_texture_share(_fine_luma(planes, spec), spec, ratio)
        for rows, (kept,) in _strips(1 - own[None], cut, height - 2 * cut):
            yield rows, kept
    else:
        step = _strip_rows(width - 2 * cut)
        for top in range(0, height - 2 * cut, step):
            yield slice(top, min(top + step, height - 2 * cut)), None


def _fine_luma(planes: Float32Array, spec: ModelSpec) -> Float32Array:
    """Luminance in grey levels, but for a constant: normalised float32 [3, H, W] to [H / 2, W / 2]."""
    _, height, width = planes.shape
    luma = np.empty((height // FINE_PX, width // FINE_PX), np.float32)
    scales = [np.float32(255 * weight * std) for weight, std in zip(LUMA, spec.std, strict=True)]
    step = _strip_rows(width)
    for top in range(0, height, step):
        part = planes[:, top : top + step]
        strip = part[0] * scales[0]
        for band in (1, 2):
            strip += part[band] * scales[band]
        luma[top // FINE_PX : (top + step) // FINE_PX] = block_means(strip, FINE_PX)
    return luma


@dataclass(frozen=True)
class _NetworkOutput:
    """The output of a network for one window, in grey levels.

    Attributes:
        luma: float32 [h, w], luminance.
        fine: float32 [3, h / 2, w / 2], means of red, green and blue.
        change: float32 [3, h / 4, w / 4], means of the change of each.
    """

    luma: Float32Array
    fine: Float32Array
    change: Float32Array

    @classmethod
    def of(
        cls,
        seen: Float32Array,
        correction: Float32Array,
        kept: Iterable[tuple[slice, Float32Array | None]],
        spec: ModelSpec,
    ) -> _NetworkOutput:
        """From normalised float32 [3, h, w], its correction, and the share of the correction that is kept."""
        bands, height, width = seen.shape
        luma = np.zeros((height, width), np.float32)
        fine = np.empty((bands, height // FINE_PX, width // FINE_PX), np.float32)
        change = np.empty((bands, height // CELL_PX, width // CELL_PX), np.float32)
        finite = True
        for rows, share in kept:
            fine_rows, cell_rows = (slice(rows.start // px, rows.stop // px) for px in (FINE_PX, CELL_PX))
            for band in range(bands):
                # Values that are not finite are reported below.
                with np.errstate(invalid="ignore", over="ignore"):
                    added = correction[band, rows] * np.float32(255 * spec.std[band])
                    if share is not None:
                        added *= share
                    change[band, cell_rows] = block_means(added, CELL_PX)
                    added += seen[band, rows] * np.float32(255 * spec.std[band])
                    added += np.float32(255 * spec.mean[band])
                    fine[band, fine_rows] = block_means(added, FINE_PX)
                    added *= np.float32(LUMA[band])
                    luma[rows] += added
            # One sum tells whether any value is NaN or infinite, in a fraction of isfinite's time.
            with np.errstate(invalid="ignore", over="ignore"):
                finite &= bool(np.isfinite(luma[rows].sum()))
        check_finite(finite)
        return cls(luma, fine, change)


def _strip_rows(width: int) -> int:
    """Rows to work on at once: few enough that they stay in a core's cache, and whole cells."""
    return max(1, _STRIP_PX // width // CELL_PX) * CELL_PX


def _luma(bands: Float32Array) -> Float32Array:
    """[3, h, w] to [h, w]."""
    weights = np.asarray(LUMA, np.float32)
    luma: Float32Array = bands[0] * weights[0]
    luma += bands[1] * weights[1]
    luma += bands[2] * weights[2]
    return luma


def _draw_grey(made: _NetworkOutput, radii: FilterRadii, cut: int, drawn: UInt8Array) -> None:
    """Luminance alone, into uint8 [h - 2 cut, w - 2 cut, 3]."""
    drifts = two_boxes(_luma(made.change), radii.lowpass)[None]
    for rows, (drift,) in _strips(drifts, cut, drawn.shape[0]):
        luma = made.luma[rows.start + cut : rows.stop + cut, cut : cut + drawn.shape[1]] - drift
        luma += np.float32(0.5)
        drawn[rows] = np.clip(luma, 0, 255, out=luma)[..., None]


def _draw_colours(made: _NetworkOutput, radii: FilterRadii, cut: int, drawn: UInt8Array) -> None:
    """Into uint8 [h - 2 cut, w - 2 cut, 3]."""
    maps = _colour_maps(made, radii)
    red, green, blue = (np.float32(weight) for weight in LUMA)
    for rows, (drift, *slopes_and_offsets) in _strips(maps, cut, drawn.shape[0]):
        luma = made.luma[rows.start + cut : rows.stop + cut, cut : cut + drawn.shape[1]] - drift
        chroma = np.empty((3, *luma.shape), np.float32)
        for band, slope, offset in zip((0, 2), slopes_and_offsets[:2], slopes_and_offsets[2:], strict=True):
            np.multiply(slope, luma, out=chroma[band])
            chroma[band] += offset
        # Chroma has no luminance: the third band follows from the others.
        np.multiply(chroma[0], -red / green, out=chroma[1])
        chroma[1] -= chroma[2] * (blue / green)
        values = chroma + luma
        if values.min() < 0 or values.max() > 255:
            values = _within_range(luma, chroma)
        values += np.float32(0.5)
        for band in range(3):
            drawn[rows, :, band] = values[band]


def _within_range(luma: Float32Array, chroma: Float32Array) -> Float32Array:
    """[h, w] and [3, h, w] to bands of 0 to 255: a band that was clipped alone would leave a tint."""
    luma = luma.clip(0, 255)
    above, below = np.maximum(chroma.max(0), 1e-6), np.maximum(-chroma.min(0), 1e-6)
    share = np.minimum(np.minimum((255 - luma) / above, luma / below), 1)
    values: Float32Array = luma + share * chroma
    return values.clip(0, 255, out=values)


def _colour_maps(made: _NetworkOutput, radii: FilterRadii) -> Float32Array:
    """Maps that turn luminance into bands, float32 [5, h / 4, w / 4].

    Drift of luminance; slopes of red and blue chroma against luminance without its drift; offsets of both.
    """
    drifts = np.empty((3, *made.change.shape[1:]), np.float32)
    drifts[0] = _luma(made.change)
    drifts[1], drifts[2] = made.change[0] - drifts[0], made.change[2] - drifts[0]
    drifts = two_boxes(drifts, radii.lowpass)
    factor = CELL_PX // FINE_PX
    fine_drifts = enlarge_rows(enlarge_columns(drifts, factor), factor, 0, drifts.shape[1])
    # Luminance, red and blue chroma; then products of the first with all three.
    terms = np.empty((6, *made.fine.shape[1:]), np.float32)
    terms[0] = _luma(made.fine)
    terms[1], terms[2] = made.fine[0] - terms[0], made.fine[2] - terms[0]
    terms[:3] -= fine_drifts
    # About middle grey, where squares lose the least to rounding.
    terms[0] -= np.float32(128)
    np.multiply(terms[:1], terms[:3], out=terms[3:])
    means = box_means(block_means(terms, factor), radii.guided)
    guide = means[0]
    slopes = (means[4:] - guide * means[1:3]) / (means[3] - guide * guide + np.float32(SMOOTHING))
    offsets = means[1:3] - slopes * (guide + np.float32(128))
    smooth = box_means(np.concatenate([slopes, offsets]), radii.guided)
    return np.concatenate([drifts[:1], smooth])


def _strips(maps: Float32Array, cut: int, height: int) -> Iterator[tuple[slice, Float32Array]]:
    """Maps of cells as pixels, a strip at a time, without `cut` pixels on each side: its rows and their values."""
    columns = enlarge_columns(maps, CELL_PX)
    columns = columns[..., cut : columns.shape[-1] - cut]
    step = _strip_rows(columns.shape[-1])
    for top in range(0, height, step):
        stop = min(top + step, height)
        yield (
            slice(top, stop),
            enlarge_rows(columns, CELL_PX, (cut + top) // CELL_PX, (cut + stop) // CELL_PX),
        )
