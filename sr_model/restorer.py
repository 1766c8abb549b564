"""Windows in, restored pixels out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sr_model.errors import InputError
from sr_model.halo import dehalo
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA, UInt8Array, check_rgb
from sr_model.runtimes import DeviceName, Runtime, RuntimeName, choose_runtime
from sr_model.shipped import bundled_weights_path
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights

# A window that takes longer is not run again only to leave out of its time what the first run prepares.
_SOON_S: Final = 1.0
# What is left of a small window without its trim, in strides.
_PROBE_STRIDES: Final = 40


class Restorer:
    """A verified network on a runtime. Thread-safe; the same input gives the same bytes."""

    def __init__(self, spec: ModelSpec, digest: str, runtime: Runtime, trim_px: int = 0) -> None:
        self.spec = spec
        self.digest = digest
        self._runtime = runtime
        self._trim_px = trim_px
        self._warm: dict[int, float] = {}

    @property
    def runtime(self) -> str:
        """Name of runtime, device and precision."""
        return self._runtime.name

    @property
    def batch(self) -> int:
        """Number of windows that should go through together at the moment; see `Runtime.batch`."""
        return self._runtime.batch

    @property
    def callers(self) -> int:
        """Number of threads that should call at the same time; see `Runtime.callers`."""
        return self._runtime.callers

    def warm_up(self, side_px: int) -> float:
        """Run square windows once, so that what the first request needs is prepared before it.

        A GPU runs windows of the full size, one and a full batch, so that their memory is allocated. Elsewhere that
        would take seconds from the start: smaller windows are run, and tell the time of larger ones.

        Args:
            side_px: of the windows; a multiple of `spec.stride`. Sizes that were run before are not run again.

        Returns:
            Seconds that a window takes, about.

        Raises:
            InferenceError: as `restore`.
        """
        if side_px not in self._warm:
            smallest = 2 * self._trim_px + _PROBE_STRIDES * self.spec.stride
            side = side_px if self.batch > 1 else min(side_px, smallest)
            seconds = [self._seconds(windows, side) for windows in sorted({1, self.batch})]
            if seconds[-1] < _SOON_S:
                seconds.append(self._seconds(self.batch, side))
            self._warm[side_px] = seconds[-1] * (side_px / side) ** 2
        return self._warm[side_px]

    def _seconds(self, windows: int, side_px: int) -> float:
        """How long each of some windows takes in one pass."""
        started = time.perf_counter()
        self.restore(np.zeros((windows, side_px, side_px, 3), np.uint8))
        return (time.perf_counter() - started) / windows

    @classmethod
    def open(
        cls,
        weights: Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        trim_px: int = 0,
        threads: int | None = None,
    ) -> Restorer:
        """Load a weights file, by default the bundled one.

        Args:
            weights: the file.
            runtime, device, threads: see `choose_runtime`.
            trim_px: width of the border of a window that is only context; a multiple of `spec.stride`. `restore` leaves
                it out on every side and computes less.

        Raises:
            WeightsError: the file cannot be verified.
            RuntimeUnavailableError: the requested device is missing.
            InputError: the trim is not a multiple of the stride.
        """
        loaded = load_weights(weights or bundled_weights_path())
        return cls.from_weights(loaded, runtime=runtime, device=device, trim_px=trim_px, threads=threads)

    @classmethod
    def from_weights(
        cls,
        weights: Weights,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        trim_px: int = 0,
        threads: int | None = None,
    ) -> Restorer:
        """Put verified weights on a runtime; raises as `open` does."""
        stride = weights.spec.stride
        if trim_px < 0 or trim_px % stride:
            raise InputError(f"trim_px is {trim_px}: give 0 or another multiple of the stride, {stride}")
        chosen = choose_runtime(weights, runtime, device, trim_px=trim_px, threads=threads)
        return cls(weights.spec, weights.digest, chosen, trim_px)

    def restore(
        self, rgb: UInt8Array, photos: PhotoContext | Sequence[PhotoContext] | None = None
    ) -> UInt8Array:
        """Restore windows on the model's grid.

        Args:
            rgb: uint8 [B, H, W, 3] at the pixel size of the output, nodata filled; H and W multiples of `spec.stride`.
            photos: the photograph that the windows show, or one for each window; by default in colour and of the ratio
                that suits the weights best. Weights whose colours are the network's own do not ask for it.

        Returns:
            uint8 [B, H, W, 3] of the same size, halo included; less the trim on every side. Of a grey photograph,
            all three bands are equal, whatever the weights make of colours.

        Raises:
            InputError: wrong shape or dtype, nothing is left without the trim, or not one photograph for each window.
            InferenceError: the network failed, or returned values that are not a picture.
        """
        check_rgb(rgb, self.spec.stride, self._trim_px)
        if photos is None:
            photos = PhotoContext(self.spec.ratio or 1.0)
        if isinstance(photos, PhotoContext):
            photos = [photos] * len(rgb)
        if len(photos) != len(rgb):
            raise InputError(
                f"{len(rgb)} windows, but {len(photos)} photographs: give one for each, or one for all"
            )
        restored = self._runtime.restore(_without_halos(rgb, photos), photos)
        if self.spec.colours == "network":
            _drop_colours(restored, [photo.grey for photo in photos])
        return restored


def _drop_colours(restored: UInt8Array, grey: Sequence[bool]) -> None:
    """Leave luminance alone in windows of grey photographs: a network can only invent their colours."""
    for window, is_grey in zip(restored, grey, strict=True):
        if is_grey:
            window[...] = np.rint(window @ np.array(LUMA, np.float32)).astype(np.uint8)[..., None]


def _without_halos(rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
    """Windows as they were before the unsharp masks of their photographs."""
    if not any(photo.halo_amount for photo in photos):
        return rgb
    undone = (
        dehalo(window, photo.halo_amount, photo.halo_sigma_px)
        for window, photo in zip(rgb, photos, strict=True)
    )
    return np.stack(list(undone))
