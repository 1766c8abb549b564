"""Options of `refine`. Importing them loads nothing heavy: the command reads its defaults here."""

from __future__ import annotations

from typing import Literal, NamedTuple

Direction = Literal["rows", "columns"]


class RefineOptions(NamedTuple):
    """Options of a refinement.

    Attributes:
        lines: direction of the lines to remove; None leaves them as they are.
        fidelity: how far luma is drawn back to the old photo's, 0 to 1; see `back_project`.
        detail: share of the new photo's energy that fine detail is to have; 0 leaves it as it is.
        steps: number of steps of AdamW.
        lr: highest learning rate, under half a cosine.
        line_weight: weight of the remaining power of the lines, beside mean squared error.
        seed: seed of every draw.
    """

    lines: Direction | None = None
    fidelity: float = 0.5
    detail: float = 0.7
    steps: int = 1500
    lr: float = 2e-4
    line_weight: float = 300.0
    seed: int = 0
