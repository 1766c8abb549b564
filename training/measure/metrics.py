"""Metrics that together tell a restored picture from a sharpened one; each alone can be cheated.

All take lists of pictures, uint8 [H, W, 3], on one grid at the model's GSD. The sums that a metric is computed from
come from a function of their own (`band_energy`, `pattern_powers`), so that chips can be resampled, see
`training.measure.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from sr_model.pixels import LUMA

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_LUMA: Final = np.array(LUMA)
_HIGH_BAND: Final = (0.2, 0.5)
_PERIODS_PX: Final = (2, 4, 8)
SPECTRUM_PX: Final = 128


def luma(rgb: UInt8Array | Float32Array) -> FloatArray:
    """uint8 or float32 [H, W, 3] to float64 [H, W], 0 to 255 (ITU-R BT.601)."""
    result: FloatArray = rgb.astype(np.float64) @ _LUMA
    return result


def patches(pictures: Sequence[UInt8Array], size_px: int, step_px: int) -> UInt8Array:
    """Cut pictures into squares, one every `step_px`: uint8 [N, size, size, 3]."""
    cut = [
        picture[y : y + size_px, x : x + size_px]
        for picture in pictures
        for y in range(0, picture.shape[0] - size_px + 1, step_px)
        for x in range(0, picture.shape[1] - size_px + 1, step_px)
    ]
    return np.stack(cut)


def _spectrum(picture: FloatArray) -> npt.NDArray[np.complex128]:
    """Fourier transform under a Hann window, [H, W] with the zero frequency first."""
    height, width = picture.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    result: npt.NDArray[np.complex128] = np.fft.fft2((picture - picture.mean()) * window)
    return result


def _power(picture: FloatArray) -> FloatArray:
    result: FloatArray = np.abs(_spectrum(picture)) ** 2
    return result


def band_energy(picture: UInt8Array, new: UInt8Array) -> tuple[float, float]:
    """Energy between 0.2 and 0.5 cycles per pixel of a picture, its contrast matched, and of the new photo."""
    a, b = luma(picture), luma(new)
    matched = (a - a.mean()) * (b.std() / max(a.std(), 1e-6))
    frequencies = np.hypot(np.fft.fftfreq(a.shape[0])[:, None], np.fft.fftfreq(a.shape[1])[None])
    band = (frequencies >= _HIGH_BAND[0]) & (frequencies <= _HIGH_BAND[1])
    return float(_power(matched)[band].sum()), float(_power(b)[band].sum())


def pattern_powers(picture: UInt8Array) -> FloatArray:
    """Power at periods of 2, 4 and 8 px and around them, summed over a picture's windows; see `pattern_peak`.

    Every combination of these periods along x and y counts, so a checkerboard does too. The spectrum is that of
    half-overlapping windows (Welch 1967): one window's would be too noisy for a limit near 1. A pattern counts
    wherever it comes from: also a JPEG's blocks, and the lines that a scanner or an earlier resampling left.

    Returns:
        float64 [places, 1 + neighbours].
    """
    total = np.sum([_power(luma(window)) for window in _spectral_windows([picture])], axis=0)
    result: FloatArray = total[_ROWS, _COLUMNS]
    return result


def pattern_peak(power: FloatArray, near: FloatArray | None = None) -> FloatArray:
    """Largest power at a period that counts over the geometric mean of that of its neighbours; 1 is no pattern.

    Args:
        power: float64 [..., places, 1 + neighbours], first the place itself, then its neighbours, as `pattern_powers`
            gives it; a sum does, for its scale cancels out.
        near: the same of the spectrum whose neighbours count, by default `power`.

    Returns:
        float64 [...].
    """
    around = power if near is None else near
    logs = np.where(_COUNTED, np.log(np.maximum(around[..., 1:], 1e-300)), 0).sum(-1)
    ratio: FloatArray = power[..., 0] / np.exp(logs / _COUNTED.sum(-1))
    largest: FloatArray = ratio.max(-1)
    return largest


def drawn_powers(phases: Sequence[UInt8Array]) -> tuple[FloatArray, FloatArray]:
    """Like `pattern_powers`, with the network's own additions told apart from patterns of the photo.

    A network's grid stays with its window; patterns of the ground or the photo move with the ground. So the part
    of the power at these periods that changes with the window's phase is the network's own, whatever it depends on.

    Args:
        phases: the same ground, restored in windows that start at different phases and then cut to what all show:
            uint8 [H, W, 3] each. At least two; eight or more tell all periods.

    Returns:
        The mean power, and the part that the phase changes: float64 [places, 1 + neighbours] each.
    """
    power, own = np.zeros((SPECTRUM_PX, SPECTRUM_PX)), np.zeros((SPECTRUM_PX, SPECTRUM_PX))
    for windows in zip(*(_spectral_windows([picture]) for picture in phases), strict=True):
        spectra = np.stack([_spectrum(luma(window)) for window in windows])
        power += (np.abs(spectra) ** 2).mean(0)
        own += spectra.var(0, ddof=1)
    return power[_ROWS, _COLUMNS], own[_ROWS, _COLUMNS]


def _spectral_windows(pictures: Sequence[UInt8Array]) -> UInt8Array:
    return patches(pictures, SPECTRUM_PX, SPECTRUM_PX // 2)


def _pattern_places() -> list[tuple[int, int]]:
    """Places in the spectrum of every combination of the periods along x and y."""
    bins = [0, *(SPECTRUM_PX // period for period in _PERIODS_PX)]
    # Negative columns are the other diagonal; negative rows would only repeat the spectrum of a real picture.
    return sorted({(y, sign * x) for y in bins for x in bins for sign in (1, -1)} - {(0, 0)})


def _neighbours(y: int, x: int) -> list[tuple[int, int]]:
    """Places 3 to 5 bins away on both sides, so that a falling spectrum is met in its middle.

    On an axis, where streets and fields leave a ridge, along that axis only.
    """
    offsets = [offset for offset in range(-5, 6) if abs(offset) >= 3]
    along_y = [] if y == 0 else [(y + offset, x) for offset in offsets]
    along_x = [] if x == 0 else [(y, x + offset) for offset in offsets]
    return along_y + along_x


def _table_of_places() -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Rows and columns [places, 1 + neighbours] of the spectrum, and which of the neighbours [places, ...] count."""
    lists = [[place, *_neighbours(*place)] for place in _pattern_places()]
    longest = max(map(len, lists))
    table = np.array([row + row[:1] * (longest - len(row)) for row in lists]) % SPECTRUM_PX
    counted = np.array([[i < len(row) for i in range(1, longest)] for row in lists])
    return table[..., 0], table[..., 1], counted


_ROWS, _COLUMNS, _COUNTED = _table_of_places()


def structure_kept(picture: UInt8Array, old: UInt8Array, ratio: float) -> float:
    """Pearson's correlation of luma with the old photo, both averaged to the old photo's own pixels.

    Args:
        picture, old: on the model's grid.
        ratio: the old photo's pixel size over the model's, 1 or more.
    """
    side = max(round(picture.shape[0] / max(ratio, 1.0)), 2)
    a, b = (
        F.interpolate(torch.from_numpy(luma(x))[None, None], size=(side, side), mode="area").numpy().ravel()
        for x in (picture, old)
    )
    return _correlation(a, b)


def consistency(picture: UInt8Array, old: UInt8Array, ratio: float) -> float:
    """Pearson's correlation with the old photo at its own pixel size, the mean of red, green and blue.

    Would the restored ground, photographed with the old pixels, give the old photo again? Each band is averaged to
    the old photo's own pixels; a change of its brightness or contrast as a whole does not count, for the cast and the
    haze are there to be removed. `structure_kept` asks the same of luma alone.

    Args:
        picture, old: on the model's grid.
        ratio: the old photo's pixel size over the model's, 1 or more.
    """
    size = tuple(max(round(side / max(ratio, 1.0)), 2) for side in picture.shape[:2])
    bands = [
        F.interpolate(torch.from_numpy(x.transpose(2, 0, 1).astype(np.float64))[None], size=size, mode="area")
        .numpy()
        .reshape(3, -1)
        for x in (picture, old)
    ]
    return float(np.mean([_correlation(a, b) for a, b in zip(*bands, strict=True)]))


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's; flat water agrees with flat water, and with nothing else."""
    flat = a.std() == 0, b.std() == 0
    return float(all(flat)) if any(flat) else float(np.corrcoef(a, b)[0, 1])
