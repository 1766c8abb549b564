"""The protocol that a runtime implements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sr_model.photo import PhotoContext
from sr_model.pixels import Float32Array, UInt8Array


class Runtime(Protocol):
    """Runs one network; safe to call from several threads."""

    @property
    def name(self) -> str:
        """Its name in logs and in `/readyz`, such as `openvino cpu bf16`."""

    @property
    def batch(self) -> int:
        """Number of windows that should go through together; reduced once a batch did not fit into memory."""

    @property
    def callers(self) -> int:
        """Number of threads that should call at the same time, so that the device never waits for a window."""

    def forward(self, planes: Float32Array) -> Float32Array:
        """The network alone: the correction that it would add to pictures.

        Normalised float32 [B, spec.planes, H, W] to [B, 3, H - 2 t, W - 2 t]; H and W are multiples of the spec's
        stride, and t is `sr_model.binding.network_trim_px` of the trim that the runtime was made with.

        Raises:
            InferenceError: the network failed.
        """

    def restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        """Bytes to bytes: uint8 [B, H, W, 3] to [B, H - 2 t, W - 2 t, 3], t being the trim of the runtime.

        Args:
            rgb: the windows.
            photos: the photograph of each window.

        Raises:
            InferenceError: the network failed, or returned values that are not a picture.
        """
