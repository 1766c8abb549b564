"""The libraries that come with extras: imported when they are needed, with a way out where they are missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from sr_model.errors import RuntimeUnavailableError


def has_torch() -> bool:
    """Whether torch is installed; does not import it, which takes seconds."""
    try:
        return find_spec("torch") is not None
    except ValueError:  # somebody put a stand-in without a spec into sys.modules
        return False


def import_torch(purpose: str) -> Any:
    """The library.

    Args:
        purpose: what needs it, the subject of the message's sentence.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{purpose} cannot be used without torch, which is not installed: pip install 'orthosharp[torch]'"
        ) from error
    return torch
