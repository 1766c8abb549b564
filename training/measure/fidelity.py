"""A picture against the new photo of the same ground, place by place: pixels, structure, correctness.

Years lie between the photographs, and pairs are a fraction of a pixel off: picture and new photo are registered and
made equal in colour first, so that neither counts. Changes on the ground do count, in every picture alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import shift as moved
from skimage.metrics import structural_similarity

from training.measure.colour_map import matched_psnr
from training.measure.metrics import luma
from training.measure.register import LocalShift, correlation_surface, read_shift

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

# Pairs are registered already: a longer or a less certain shift is chance.
_REACH_PX: Final = 12
_LONGEST_PX: Final = 3.0
_LEAST_CONFIDENCE: Final = 4.0
_BORDER_PX: Final = 4
# That of rounding to bytes, whose mean squared error is 1/12; equal pictures get it and not infinity.
_BEST_PSNR_DB: Final = 10 * math.log10(12 * 255**2)

# opensr-test 1.3.3: softness of the scores (gamma), temperature of the shares, and the quantile of the distance
# between old and new below which a pixel, in all three distances, says nothing.
_GAMMA: Final = 0.05
_TEMPERATURE: Final = 0.25
_QUIET: Final = 0.75


@dataclass(frozen=True)
class Fidelity:
    """Metrics of one chip.

    Attributes:
        psnr_db: peak signal-to-noise ratio over the three bands, after one affine map of colours.
        ssim: structural similarity of luma (Wang et al. 2004).
        improvement, omission, hallucination: see `correctness`; their sum is 1.
    """

    psnr_db: float
    ssim: float
    improvement: float
    omission: float
    hallucination: float


def shift_between(picture: UInt8Array, other: UInt8Array) -> LocalShift:
    """Find the shift of a picture from another of the same ground; none if the answer is uncertain.

    Args:
        picture, other: uint8 [H, W, 3] on one grid, at least 32 px.
    """
    shift = read_shift(correlation_surface(picture, other, _REACH_PX))
    near = math.hypot(shift.dx_px, shift.dy_px) <= _LONGEST_PX
    return shift if near and shift.confidence >= _LEAST_CONFIDENCE else LocalShift()


def put_in_place(picture: UInt8Array, shift: LocalShift) -> Float32Array:
    """Move a picture back by a shift: uint8 [H, W, 3] to float32 of the same size, the border mirrored.

    By a spline of degree 5, which takes next to nothing from the fine detail that is to be compared.
    """
    result: Float32Array = picture.astype(np.float32)
    if (shift.dx_px, shift.dy_px) != (0.0, 0.0):
        back = -shift.dy_px, -shift.dx_px
        planes = [moved(result[..., band], back, order=5, mode="reflect") for band in range(3)]
        result = np.stack(planes, axis=2)
    return result


def match_moments(picture: Float32Array, like: Float32Array) -> Float32Array:
    """Give every band the mean and the deviation of another picture's: float32 [H, W, 3] to the same, not clipped."""
    axes = (0, 1)
    gain = like.std(axes) / np.maximum(picture.std(axes), 1.0)
    result: Float32Array = (picture - picture.mean(axes)) * gain + like.mean(axes)
    return result


def correctness(picture: Float32Array, old: Float32Array, new: Float32Array) -> tuple[float, float, float]:
    """Measure the shares of improvement, omission and hallucination in a picture (Aybar et al. 2024, opensr-test).

    Per pixel, distances are |x - y| / (x + y), the mean of the bands. With d_im from picture to new and d_om from
    picture to old, both over that from old to new, and H = d_im + d_om - 1:

        improvement    d_im + d_om (1 - exp(-gamma H))      near the new photo
        omission       d_om + d_im (1 - exp(-gamma H))      near the old photo
        hallucination  exp(-gamma d_im d_om)                far from both

    A low score is a near one. Their soft minimum gives the pixel's shares, averaged over the pixels where at least one
    of the distances is among the largest quarter of those from old to new.

    Args:
        picture, old, new: float32 [H, W, 3], registered and equal in colour.

    Returns:
        improvement, omission, hallucination; they sum to 1.
    """
    reference, to_new, to_old = (_distance(a, b) for a, b in ((old, new), (picture, new), (picture, old)))
    limit = np.quantile(reference, _QUIET)
    tells = (reference > limit) | (to_new > limit) | (to_old > limit)
    if not tells.any():
        return 0.0, 1.0, 0.0  # three equal pictures: nothing was left to improve
    base = np.maximum(reference[tells], 1e-6)
    d_im, d_om = to_new[tells] / base, to_old[tells] / base
    beyond = 1 - np.exp(-_GAMMA * (d_im + d_om - 1))
    scores = np.stack([d_im + d_om * beyond, d_om + d_im * beyond, np.exp(-_GAMMA * d_im * d_om)])
    weights = np.exp(-(scores - scores.min(0)) / _TEMPERATURE)
    improvement, omission, hallucination = (weights / weights.sum(0)).mean(1).tolist()
    return improvement, omission, hallucination


def _distance(x: Float32Array, y: Float32Array) -> npt.NDArray[np.float64]:
    # Matched colours may leave 0-255 a little; without light there is no relative distance.
    a, b = np.clip(x, 1, 255).astype(np.float64), np.clip(y, 1, 255).astype(np.float64)
    result: npt.NDArray[np.float64] = (np.abs(a - b) / (a + b)).mean(2)
    return result


def place(picture: UInt8Array, new: UInt8Array, *, exact: bool = False) -> Float32Array:
    """Register a picture with the new photo and make its colours equal, as far as nothing is lost at the border.

    Args:
        picture, new: uint8 [H, W, 3] on one grid.
        exact: whether they lie exactly on each other, so that nothing is registered.

    Returns:
        float32 [H - 8, W - 8, 3], as `inside(new)`.
    """
    shift = LocalShift() if exact else shift_between(picture, new)
    return match_moments(inside(put_in_place(picture, shift)), inside(new.astype(np.float32)))


def inside(picture: Float32Array) -> Float32Array:
    """A picture without the border that registration may spoil: [H, W, 3] to [H - 8, W - 8, 3]."""
    return picture[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]


def compare(picture: Float32Array, old: Float32Array, new: UInt8Array) -> Fidelity:
    """Every metric of one chip.

    Args:
        picture, old: both as `place` gives them.
        new: uint8 [H, W, 3].
    """
    truth = inside(new.astype(np.float32))
    improvement, omission, hallucination = correctness(picture, old, truth)
    mine = np.clip(picture, 0, 255)
    return Fidelity(
        psnr_db=min(matched_psnr(mine, truth), _BEST_PSNR_DB),
        ssim=float(
            structural_similarity(
                luma(truth),
                luma(mine),
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        ),
        improvement=improvement,
        omission=omission,
        hallucination=hallucination,
    )
