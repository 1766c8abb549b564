"""Schedules of a run as functions of the step alone: a resumed run needs no scheduler's state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# A pretrained encoder waits for this share of the run, then learns at this share of the others' rate.
ENCODER_FROZEN_UNTIL: Final = 0.2
ENCODER_SCALE: Final = 0.1


def one_cycle(step: int, steps: int, warm_up: float = 0.1, final: float = 0.02) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine (Smith 2018)."""
    rise = max(round(steps * warm_up), 1)
    if step < rise:
        return 0.1 + 0.9 * step / rise
    done = min((step - rise) / max(steps - rise, 1), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def encoder_cycle(step: int, steps: int) -> float:
    """The same for a pretrained encoder: nothing while what follows it is new, then a lower rate."""
    return 0.0 if step < ENCODER_FROZEN_UNTIL * steps else ENCODER_SCALE * one_cycle(step, steps)


@dataclass(frozen=True)
class Crops:
    """The crops of one step on each device: `count` crops of `side_px`."""

    side_px: int
    count: int


def crops_at(step: int, steps: int, sizes_px: Sequence[int], batch: int) -> Crops:
    """Each size gets an equal share of the steps.

    Args:
        step: from 0.
        steps: of the whole run.
        sizes_px: sides of the crops, in the order in which they are shown.
        batch: crops per step at the first size; at the others as many as have the same area.
    """
    side_px = sizes_px[min(step * len(sizes_px) // steps, len(sizes_px) - 1)]
    return Crops(side_px, max(round(batch * (sizes_px[0] / side_px) ** 2), 1))
