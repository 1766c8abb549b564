"""One colour map per photograph: overviews get the restored picture's tone without the network.

Fitted once from restored samples of the whole photograph, never per tile: a per-tile stretch makes seams.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.errors import InputError
from sr_model.pixels import UInt8Array

# Ridge of the least-squares fit, per sample: ground of few colours must not give wild coefficients.
_RIDGE: Final = 1e-4


def _features(rgb: UInt8Array) -> npt.NDArray[np.float32]:
    """uint8 [N, 3] to the ten monomials of degree up to two, float32 [N, 10] of colours in [0, 1]."""
    red, green, blue = (rgb[:, band].astype(np.float32) / 255 for band in range(3))
    one = np.ones_like(red)
    squares = [red * red, green * green, blue * blue, red * green, red * blue, green * blue]
    return np.stack([one, red, green, blue, *squares], axis=1)


@dataclass(frozen=True)
class ToneMap:
    """A quadratic map of colours, old to restored; `coefficients` is float32 [10, 3] as nested tuples."""

    coefficients: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, old: UInt8Array, restored: UInt8Array) -> ToneMap:
        """Least squares over samples, drawn towards the identity where samples are few.

        Args:
            old: uint8 [N, 3], area averages of the old photograph.
            restored: uint8 [N, 3], area averages of the same ground restored.

        Raises:
            InputError: the shapes differ, or there are no samples.
        """
        if old.shape != restored.shape or old.ndim != 2 or old.shape[1] != 3 or not len(old):
            raise InputError(
                f"expected two arrays [samples, 3], got {list(old.shape)} and {list(restored.shape)}"
            )
        features = _features(old).astype(np.float64)
        change = (restored.astype(np.float64) - old) / 255
        normal = features.T @ features / len(old) + _RIDGE * np.eye(features.shape[1])
        solution = np.linalg.solve(normal, features.T @ change / len(old))
        for band in range(3):
            solution[1 + band, band] += 1.0
        # Rounded, so that the last bits of another linear algebra library make no other tile.
        return cls(tuple(tuple(float(value) for value in row) for row in np.round(solution, 5)))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the coefficients, for cache keys."""
        return hashlib.sha256(repr(self.coefficients).encode()).hexdigest()

    def apply(self, rgb: UInt8Array) -> UInt8Array:
        """Map uint8 [..., 3]; rounded and clipped."""
        mapped = _features(rgb.reshape(-1, 3)) @ np.asarray(self.coefficients, np.float32)
        scaled = np.clip(mapped * np.float32(255) + np.float32(0.5), 0, 255)
        pixels: UInt8Array = scaled.astype(np.uint8).reshape(rgb.shape)
        return pixels
