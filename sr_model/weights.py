"""Weights files: safetensors with the spec and a content digest inside, so that no altered file is ever loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError, safe_open

from sr_model.atomic import write_atomic
from sr_model.errors import WeightsError
from sr_model.spec import SINGLE_IMAGE, ModelSpec

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` needs none of it
    import torch
    from torch import Tensor

    from sr_model.network_layers import RestorationNetwork

_SPEC_KEY: Final = "orthosharp_spec"
_DIGEST_KEY: Final = "orthosharp_digest"


@dataclass(frozen=True)
class Weights:
    """A verified weights file in memory; tensors are float32, whatever the file stores."""

    spec: ModelSpec
    state: dict[str, Tensor]
    digest: str

    def network(self) -> RestorationNetwork:
        """The network with these weights, in eval mode.

        Raises:
            WeightsError: the tensors are not those of the spec's architecture.
            RuntimeUnavailableError: it is an imported model, and the library that knows it is not installed.
        """
        if self.spec.architecture == SINGLE_IMAGE:
            from sr_model.single_image import single_image

            return single_image(self.spec, self.state)
        from sr_model.network import build

        network = build(self.spec)
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            raise WeightsError(
                f"the tensors do not fit {self.spec.architecture} with {dict(self.spec.config)}: "
                "the file comes from another version; export it again"
            ) from error
        return network.eval()


def content_digest(spec: ModelSpec, tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over the canonical spec and every tensor's name, type, shape and bytes."""
    return _digest(spec.to_json(), tensors)


def _digest(spec_text: str, tensors: dict[str, Tensor]) -> str:
    """Digest of what a file stores: a spec with fields of a newer version is not yet damaged."""
    import torch

    digest = hashlib.sha256(spec_text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(
    path: Path, spec: ModelSpec, state: dict[str, Tensor], *, dtype: torch.dtype | None = None
) -> Weights:
    """Write a weights file, whole or not at all, and return the weights that `load_weights` reads from it.

    Args:
        path: a `.safetensors` file; an existing one is replaced.
        spec, state, dtype: see `pack_weights`.

    Raises:
        WeightsError: a value is not finite; what was at `path` stays.
    """
    write_atomic(path, pack_weights(spec, state, dtype=dtype))
    return load_weights(path)


def pack_weights(spec: ModelSpec, state: dict[str, Tensor], *, dtype: torch.dtype | None = None) -> bytes:
    """The content of a weights file.

    Args:
        spec: of the weights.
        state: the network's `state_dict`.
        dtype: how floating-point tensors are stored; half precision if not given.

    Raises:
        WeightsError: a value is not finite, or too large for the dtype.
    """
    import torch
    from safetensors.torch import save

    dtype = dtype or torch.float16
    stored = {
        name: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in state.items()
    }
    if not all(bool(torch.isfinite(value).all()) for value in stored.values()):
        raise WeightsError(
            "the weights hold values that are not finite and are not written: the training diverged; take an "
            "earlier state of it, or train again with a lower rate"
        )
    metadata = {_SPEC_KEY: spec.to_json(), _DIGEST_KEY: content_digest(spec, stored), "format": "pt"}
    return save(stored, metadata)


def load_weights(path: Path) -> Weights:
    """Read and verify a weights file.

    Raises:
        WeightsError: the file is missing, is not a safetensors file, has no spec, was altered, was made by a newer
            version, or holds values that are not finite.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"{path.name} does not exist: name an existing .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path.name} is not a readable safetensors file ({error}): fetch or export it again"
        ) from error
    if _SPEC_KEY not in metadata or _DIGEST_KEY not in metadata:
        raise WeightsError(
            f"{path.name} has no orthosharp spec inside: make the file with `orthosharp-train export`"
        )
    digest = _digest(metadata[_SPEC_KEY], stored)
    if digest != metadata[_DIGEST_KEY]:
        raise WeightsError(
            f"{path.name} was altered or damaged (its digest does not verify): fetch or export it again"
        )
    spec = ModelSpec.from_json(metadata[_SPEC_KEY])
    state = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise WeightsError(
            f"{path.name} holds values that are not finite: the training diverged; export another run"
        )
    return Weights(spec, state, digest)


def bundled_weights_path() -> Path:
    """The small weights that ship with the package."""
    return Path(__file__).parent / "bundled" / "half_scale.safetensors"
