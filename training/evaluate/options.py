"""Options of an evaluation. Importing them loads nothing heavy: the command reads its defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # scipy takes a while to import
    from training.data.ageing import Ageing


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation.

    Attributes:
        baselines: georeferenced pictures of the same ground to compare with.
        aged: whether aged pairs are scored too.
        draws: number of draws of the blocks of ground, for the intervals.
        seed: seed of the ageing and of the draws.
        ageing: how the old photograph is aged, where it was measured.
        most_chips: so many chips of a site are scored at most, evenly spread over its block.
    """

    baselines: tuple[Path, ...] = ()
    aged: bool = True
    draws: int = 1000
    seed: int = 0
    ageing: Ageing | None = None
    most_chips: int | None = None
