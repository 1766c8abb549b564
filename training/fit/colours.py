"""The colours of new crops brought to those of their old ones, for networks that leave colours to the photograph."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

# Side of the squares whose means are compared: detail that only the new photo has must not count as noise, which would
# lower the contrast that is found.
_BLOCK_PX: Final = 8
# Deviation of a colour, in [0, 1], below which the identity weighs more than what the crops say: about two grey levels.
_LEAST_DEVIATION: Final = 0.008


def match_colours(new: Tensor, old: Tensor) -> Tensor:
    """New crops under the affine map of colours that brings each nearest to its old one, clipped.

    The map is found by least squares on means over 8 x 8 px, with a weak pull toward the identity (ridge regression,
    Hoerl and Kennard 1970), so that a crop of one colour keeps its contrast.

    Args:
        new, old: float [B, 3, H, W] in [0, 1], of the same ground; sides of 8 px or more.

    Returns:
        [B, 3, H, W] in [0, 1].
    """
    # Sums of squares need single precision, whatever the rest of a step runs in.
    with torch.autocast(new.device.type, enabled=False):
        source, target = (F.avg_pool2d(x.float(), _BLOCK_PX).flatten(2) for x in (new, old))
        means = source.mean(2, keepdim=True), target.mean(2, keepdim=True)
        source, target = source - means[0], target - means[1]
        identity = torch.eye(3, device=new.device)
        ridge = source.shape[2] * _LEAST_DEVIATION**2 * identity
        covariance, shared = source @ source.mT + ridge, target @ source.mT + ridge
        slopes = torch.linalg.solve_ex(covariance, shared, left=False)[0]
        mapped: Tensor = slopes @ (new.float().flatten(2) - means[0]) + means[1]
    return mapped.view_as(new).clamp(0, 1)
