"""The networks that ship with the package; importing this loads nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BEST: Final = "best"
# Files by the name that stands for them.
BUNDLED: Final = {BEST: "half_scale.safetensors", "small": "small.safetensors"}


def bundled_weights_path(name: str = BEST) -> Path:
    """The weights of a network that ships with the package; `name` is one of `BUNDLED`."""
    return Path(__file__).parent / "bundled" / BUNDLED[name]


def weights_path(chosen: Path | None) -> Path:
    """The file of weights that a user chose: by its path, by the name of a bundled network, or not at all."""
    name = BEST if chosen is None else str(chosen)
    return bundled_weights_path(name) if name in BUNDLED else Path(name)
