"""Squares of photographs and of sharp pictures, drawn by a seed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window
from scipy.ndimage import gaussian_gradient_magnitude

from sr_model.measure import estimate_blur_and_halo
from sr_model.pixels import LUMA
from training.errors import DatasetError
from training.pairs.reading import colour_bands

UInt8Array = npt.NDArray[np.uint8]

# Windows in which a photograph is measured, along each side, and their side.
_WINDOWS: Final = 4
_WINDOW_PX: Final = 512
_RADII_PX: Final = (0.3, 3.0)
# Of so many squares the one with the strongest edges is taken, so that there are more roofs than lawns.
_TRIES: Final = 4
_EDGE_SIGMA_PX: Final = 1.5
_MOST_BLACK: Final = 0.01
_LUMA: Final = np.array(LUMA, np.float32)


@dataclass(frozen=True)
class Ground:
    """A raster from which squares are drawn.

    Attributes:
        path: of the raster.
        reduction: how many of its pixels become one, along a side.
        halo_amount, halo_radius_px: the unsharp mask to undo, half of the measured amount; in reduced pixels.
    """

    path: Path
    reduction: float = 1.0
    halo_amount: float = 0.0
    halo_radius_px: float = 1.0

    @classmethod
    def measured(cls, path: Path) -> Ground:
        """A photograph at what it resolves, with half of its unsharp mask, both as its edges show them.

        Raises:
            DatasetError: it cannot be read, or does not hold bytes.
        """
        with _opened(path) as source:
            windows = [_luminance(source, window) for window in _lattice(source)]
        traits = estimate_blur_and_halo(windows)
        reduction = traits.resolved_px
        radius = min(max(traits.halo_radius_px, _RADII_PX[0]), _RADII_PX[1])
        return cls(path, round(reduction, 3), round(traits.halo_amount / 2, 3), round(radius / reduction, 3))

    def check_holds(self, side_px: int) -> None:
        """Look whether there is room for a square, before hours of work end at one that does not fit.

        Raises:
            DatasetError: the raster is smaller than a square, or cannot be read.
        """
        with _opened(self.path) as source:
            if min(source.shape) < math.ceil(side_px * self.reduction):
                raise DatasetError(
                    f"{self.path.name} is smaller than a square of {math.ceil(side_px * self.reduction)} px, the "
                    "smallest to learn from: leave it out"
                )

    def square(self, side_px: int, rng: np.random.Generator) -> UInt8Array | None:
        """A square with strong edges, uint8 [side, side, 3]; None where there is none without gaps.

        Raises:
            DatasetError: the raster cannot be read.
        """
        best: tuple[float, UInt8Array] | None = None
        with _opened(self.path) as source:
            span = math.ceil(side_px * self.reduction)
            for _ in range(_TRIES):
                y, x = (int(rng.integers(side - span + 1)) for side in source.shape)
                luck = rng.uniform(0.4, 1)
                pixels = _read(source, Window(x, y, span, span), side_px)
                if pixels is None:
                    continue
                edges = gaussian_gradient_magnitude(pixels @ _LUMA, _EDGE_SIGMA_PX)
                strength = float(np.percentile(edges, 92)) * luck
                if best is None or strength > best[0]:
                    best = strength, pixels
        return best[1] if best else None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with warnings.catch_warnings():
            # A JPEG or PNG lies nowhere on the ground, which does not matter here.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                if set(source.dtypes) != {"uint8"}:
                    raise DatasetError(
                        f"{path.name} does not hold bytes: make a copy with gdal_translate -ot Byte -scale"
                    )
                yield source
    except RasterioError as error:
        raise DatasetError(
            f"{path.name} cannot be read ({error}): leave it out, or fetch it again"
        ) from error


def _lattice(source: Any) -> Iterator[Window]:
    """Evenly spread windows; one, where the raster is no larger."""
    starts = [
        sorted({int(at) for at in np.linspace(0, max(side - _WINDOW_PX, 0), _WINDOWS)})
        for side in source.shape
    ]
    for y in starts[0]:
        for x in starts[1]:
            yield Window(x, y, min(_WINDOW_PX, source.width), min(_WINDOW_PX, source.height))


def _luminance(source: Any, window: Window) -> npt.NDArray[np.float32]:
    pixels = source.read(colour_bands(source), window=window).astype(np.float32)
    valid = source.dataset_mask(window=window) > 0
    luminance = np.tensordot(_LUMA, pixels, 1) if len(pixels) == 3 else pixels[0]
    return np.where(valid, luminance, np.float32(np.nan)).astype(np.float32)


def _read(source: Any, window: Window, side_px: int) -> UInt8Array | None:
    """A square of three bands, or None where some of it is missing or black."""
    shape = side_px, side_px
    valid = source.dataset_mask(window=window, out_shape=shape)
    bands = colour_bands(source)
    pixels = source.read(bands, window=window, out_shape=(len(bands), *shape), resampling=Resampling.average)
    if not valid.all() or float((pixels.max(0) < 8).mean()) > _MOST_BLACK:
        return None
    return np.ascontiguousarray(np.broadcast_to(pixels.transpose(1, 2, 0), (*shape, 3)))
