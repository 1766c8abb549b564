"""The protocol that a runtime fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sr_model.photo import PhotoContext
from sr_model.pixels import Float32Array, UInt8Array


class Runtime(Protocol):
    """Runs one network; safe to call from several threads."""

    @property
    def name(self) -> str:
        """What logs and `/readyz` call it, such as `openvino cpu bf16`."""

    @property
    def batch(self) -> int:
        """Windows that are worth a common pass; smaller from the day on that they did not fit into memory."""

    @property
    def callers(self) -> int:
        """Threads that should call at the same time, so that the device never waits for the next window."""

    def forward(self, planes: Float32Array) -> Float32Array:
        """The network alone: what it would add to pictures.

        Normalised float32 [B, spec.planes, H, W] to [B, 3, H - 2 t, W - 2 t]; H and W are multiples of the spec's
        stride, and t is `sr_model.binding.network_trim_px` of the trim that the runtime was made with.

        Raises:
            InferenceError: the network failed.
        """

    def restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        """Bytes to bytes: uint8 [B, H, W, 3] to [B, H - 2 t, W - 2 t, 3], t being the trim of the runtime.

        Args:
            rgb: the windows.
            photos: the photograph of each.

        Raises:
            InferenceError: the network failed, or returned values that are no picture.
        """
