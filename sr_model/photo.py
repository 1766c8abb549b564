"""What is known of the photograph behind a window, and told to the model with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoContext:
    """Properties of a whole photograph: the same for every window of it, else there would be seams.

    Attributes:
        ratio: size of its pixels (of what it resolves) over that of the output's, see `ModelSpec.ratio_of`; the
            filters that keep its colours widen with it.
        grey: whether it is black and white: its restored picture then has three equal bands.
    """

    ratio: float = 2.0
    grey: bool = False

    def __post_init__(self) -> None:
        if not self.ratio > 0:
            raise ValueError(f"the ratio of pixel sizes must be positive, got {self.ratio}")
