"""The protocol that a runtime fulfils."""

from __future__ import annotations

from typing import Protocol

from sr_model.pixels import Float32Array


class Runtime(Protocol):
    """Runs one network; safe to call from several threads."""

    @property
    def name(self) -> str:
        """What logs and `/healthz` call it, such as `onnxruntime cpu`."""

    def forward(self, planes: Float32Array) -> Float32Array:
        """Normalised float32 [B, spec.planes, H, W] to [B, 3, H, W]; H and W are multiples of the spec's stride.

        Raises:
            InferenceError: the network failed.
        """
