"""Weights files: safetensors with the spec and a content digest inside, so that no altered file is ever loaded.

They are read with numpy alone: serving on a CPU needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from sr_model.atomic import write_atomic
from sr_model.errors import WeightsError
from sr_model.installed import import_torch
from sr_model.spec import SINGLE_IMAGE, ModelSpec

if TYPE_CHECKING:  # torch takes seconds to import, and serving on a CPU needs none of it
    import torch
    from torch import Tensor

    from sr_model.network_layers import RestorationNetwork

Array = npt.NDArray[Any]

_SPEC_KEY: Final = "orthosharp_spec"
_DIGEST_KEY: Final = "orthosharp_digest"
# Types of tensors in a safetensors file: torch's names, which digests contain, and numpy's.
_DTYPES: Final = {
    "BOOL": ("torch.bool", np.dtype(np.bool_)),
    "U8": ("torch.uint8", np.dtype(np.uint8)),
    "I8": ("torch.int8", np.dtype(np.int8)),
    "I16": ("torch.int16", np.dtype("<i2")),
    "I32": ("torch.int32", np.dtype("<i4")),
    "I64": ("torch.int64", np.dtype("<i8")),
    "F16": ("torch.float16", np.dtype("<f2")),
    # The upper half of a float32, which numpy has no type for.
    "BF16": ("torch.bfloat16", np.dtype("<u2")),
    "F32": ("torch.float32", np.dtype("<f4")),
    "F64": ("torch.float64", np.dtype("<f8")),
}


@dataclass(frozen=True)
class Weights:
    """A verified weights file in memory.

    Attributes:
        spec: what the weights declare about themselves.
        arrays: tensors by name; those of floating point are float32, whatever the file stores.
        digest: SHA-256 (hex) of the file's content, see `content_digest`.
    """

    spec: ModelSpec
    arrays: Mapping[str, Array]
    digest: str

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The tensors for torch; they share their memory with `arrays`.

        Raises:
            RuntimeUnavailableError: torch is not installed.
        """
        torch = import_torch(f"the weights {self.spec.name}")
        return {name: torch.from_numpy(array) for name, array in self.arrays.items()}

    def network(self) -> RestorationNetwork:
        """The network with these weights, in eval mode.

        Raises:
            WeightsError: the tensors are not those of the spec's architecture.
            RuntimeUnavailableError: torch is not installed, or it is an imported model, and the library that knows it
                is not.
        """
        state = self.state
        if self.spec.architecture == SINGLE_IMAGE:
            from sr_model.single_image import single_image

            return single_image(self.spec, state)
        from sr_model.network import build

        network = build(self.spec)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise does_not_fit(self.spec) from error
        return network.eval()


def does_not_fit(spec: ModelSpec) -> WeightsError:
    """The error of tensors that are not those of the spec's architecture."""
    return WeightsError(
        f"the tensors do not fit {spec.architecture} with {dict(spec.config)}: "
        "the file comes from another version; export it again"
    )


def content_digest(spec: ModelSpec, tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over the canonical spec and every tensor's name, type, shape and bytes."""
    return _digest(spec.to_json(), tensors)


def _digest(spec_text: str, tensors: dict[str, Tensor]) -> str:
    """Digest of what a file stores: a spec with fields of a newer version is not yet damaged."""
    import torch

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return _digest_of_bytes(
        spec_text,
        {
            name: (str(value.dtype), list(value.shape), value.reshape(-1).view(torch.uint8).numpy().tobytes())
            for name, value in plain.items()
        },
    )


def _digest_of_bytes(spec_text: str, tensors: Mapping[str, tuple[str, list[int], bytes]]) -> str:
    """See `_digest`; of each tensor torch's name of its type, its shape and its bytes."""
    digest = hashlib.sha256(spec_text.encode())
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        digest.update(f"\n{name} {dtype} {shape}\n".encode())
        digest.update(data)
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
    if not path.is_file():
        raise WeightsError(f"{path.name} does not exist: name an existing .safetensors file")
    try:
        data = path.read_bytes()
        stored = {name: (_DTYPES[one["dtype"]], one["shape"], one["data"]) for name, one in deserialize(data)}
    except (SafetensorError, OSError, KeyError) as error:
        raise WeightsError(
            f"{path.name} is not a readable safetensors file ({error}): fetch or export it again"
        ) from error
    metadata = _metadata(data)
    if _SPEC_KEY not in metadata or _DIGEST_KEY not in metadata:
        raise WeightsError(
            f"{path.name} has no orthosharp spec inside: make the file with `orthosharp-train export`"
        )
    parts = {name: (kind[0], list(shape), bytes(part)) for name, (kind, shape, part) in stored.items()}
    digest = _digest_of_bytes(metadata[_SPEC_KEY], parts)
    if digest != metadata[_DIGEST_KEY]:
        raise WeightsError(
            f"{path.name} was altered or damaged (its digest does not verify): fetch or export it again"
        )
    spec = ModelSpec.from_json(metadata[_SPEC_KEY])
    arrays = {name: _array(kind, shape, part) for name, (kind, shape, part) in stored.items()}
    if not all(bool(np.isfinite(value).all()) for value in arrays.values()):
        raise WeightsError(
            f"{path.name} holds values that are not finite: the training diverged; export another run"
        )
    return Weights(spec, arrays, digest)


def _metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file says of itself: its header, JSON after eight bytes with its length, is valid."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return found


def _array(kind: tuple[str, np.dtype[Any]], shape: list[int], data: bytes) -> Array:
    """A tensor of a file in memory of its own; float32 if it is one of floating point."""
    name, dtype = kind
    array = np.frombuffer(data, dtype).reshape(shape)
    if name == "torch.bfloat16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array.copy()
