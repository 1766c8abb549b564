"""Pairs whose photographs were taken in different seasons: textures are learnt from them, colours are not.

Where the old photo shows bare woods and the new one leaves, no network can tell that a wood shall turn green, and one
that learns it paints roofs and shadows green too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from training.data.dataset import AnyPair, Pair
from training.measure.metrics import luma

# Colours coarser than this stay as in the old photo.
_SIGMA_PX: Final = 16.0
# Haze takes colour away; a little more than the old photo has belongs to any season.
_SATURATION: Final = 1.15
_SAMPLE: Final = 8


def keep_season(pairs: Sequence[AnyPair]) -> list[AnyPair]:
    """Give every new chip the colours and the lights of its old one, without touching its detail.

    Contrast and brightness still are the new photo's: one straight line for all these pairs brings the old photo's
    luma to them, so that haze is learnt.
    """
    if not pairs:
        return []
    samples = [
        [luma(picture[::_SAMPLE, ::_SAMPLE]).ravel() for picture in (pair.old, pair.new)]
        for pair in (stored.load() for stored in pairs)
    ]
    old, new = (np.concatenate(side) for side in zip(*samples, strict=True))
    gain = float(new.std() / max(old.std(), 1e-3))
    offset = float(new.mean() - gain * old.mean())
    return [pair.recoloured(partial(_recoloured, gain=gain, offset=offset)) for pair in pairs]


def _recoloured(pair: Pair, *, gain: float, offset: float) -> npt.NDArray[np.uint8]:
    old, new = pair.old.astype(np.float32), pair.new.astype(np.float32)
    light = luma(pair.old)[..., None].astype(np.float32)
    wanted = gain * light + offset + _SATURATION * (old - light)
    changed = new + gaussian_filter(wanted - new, (_SIGMA_PX, _SIGMA_PX, 0))
    result: npt.NDArray[np.uint8] = np.clip(changed + 0.5, 0, 255).astype(np.uint8)
    return result
