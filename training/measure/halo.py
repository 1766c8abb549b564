"""The halo that a network needs: how far beyond a window's core its output still depends on the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer
from sr_model.weights import Weights
from training.errors import RunError

UInt8Array = npt.NDArray[np.uint8]

# Mean difference at a window's border, in grey levels, below which more context changes nothing that is seen.
_TOLERANCE: Final = 0.25
_FAR_PX: Final = 160
_CORE_PX: Final = 64
# Side of the windows on which the halo is measured.
HALO_WINDOW_PX: Final = _CORE_PX + 2 * _FAR_PX


def measure_halo(weights: Weights, pictures: Sequence[UInt8Array]) -> int:
    """The smallest multiple of the stride that covers the network's effective receptive field.

    Every window is restored with much context and with less and less; what counts is the mean difference in the
    outermost pixels of its core, where two windows would meet.

    Args:
        weights: the trained network.
        pictures: uint8 [H, W, 3], such as old chips; those under 384 px are mirrored until they are as large, where
            none is.

    Raises:
        RunError: there is no picture, or no halo suffices.
    """
    side = HALO_WINDOW_PX
    large = [picture for picture in pictures if min(picture.shape[:2]) >= side]
    windows = [picture[:side, :side] for picture in large or [mirrored(one, side) for one in pictures]]
    if not windows:
        raise RunError(
            "the halo cannot be measured: the run has no picture for it; make pairs with more chips"
        )
    # The filters that keep a photograph's colours are widest at the largest ratio.
    photo = PhotoContext(weights.spec.ratio_range[1] or 1.0)
    restorer = Restorer.from_weights(weights)
    truth = [
        restorer.restore(window[None], photo)[0][_FAR_PX:-_FAR_PX, _FAR_PX:-_FAR_PX] for window in windows
    ]
    for halo in range(weights.spec.stride, _FAR_PX, weights.spec.stride):
        cut = _FAR_PX - halo
        differences = []
        for window, wanted in zip(windows, truth, strict=True):
            less = restorer.restore(np.ascontiguousarray(window[None, cut:-cut, cut:-cut]), photo)[0]
            difference = np.abs(less[halo:-halo, halo:-halo].astype(np.int16) - wanted)
            differences.append(
                float(np.mean([difference[0], difference[-1], difference[:, 0], difference[:, -1]]))
            )
        if np.mean(differences) <= _TOLERANCE:
            return halo
    raise RunError(f"even a halo of {_FAR_PX} px does not cover the receptive field: train a smaller network")


def mirrored(picture: UInt8Array, side: int) -> UInt8Array:
    """Mirror a picture, uint8 [H, W, 3], at its right and lower border until it has `side` px in both directions."""
    height, width = picture.shape[:2]
    missing = ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0))
    return np.pad(picture, missing, mode="symmetric")
