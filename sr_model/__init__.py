"""The network that restores old aerial photographs, and the contract that training and serving share.

Names are loaded when they are first used, so that a program that needs a window's arithmetic or an error class waits
for neither torch nor OpenVINO.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_model.errors import (
        GsdMismatchError,
        InferenceError,
        InputError,
        RuntimeUnavailableError,
        SrModelError,
        WeightsError,
    )
    from sr_model.halo import dehalo
    from sr_model.network import multiplications_per_px
    from sr_model.photo import PhotoContext
    from sr_model.pixels import fill_nodata
    from sr_model.restorer import Restorer
    from sr_model.spec import ModelSpec
    from sr_model.tone import ToneMap
    from sr_model.weights import Weights, bundled_weights_path, load_weights, save_weights
    from sr_model.windows import PixelWindow, aligned_window, crop_slices

    __version__: str

__all__ = [
    "GsdMismatchError",
    "InferenceError",
    "InputError",
    "ModelSpec",
    "PhotoContext",
    "PixelWindow",
    "Restorer",
    "RuntimeUnavailableError",
    "SrModelError",
    "ToneMap",
    "Weights",
    "WeightsError",
    "__version__",
    "aligned_window",
    "bundled_weights_path",
    "crop_slices",
    "dehalo",
    "fill_nodata",
    "load_weights",
    "multiplications_per_px",
    "save_weights",
]

_MODULES = {
    "errors": (
        "GsdMismatchError",
        "InferenceError",
        "InputError",
        "RuntimeUnavailableError",
        "SrModelError",
        "WeightsError",
    ),
    "halo": ("dehalo",),
    "network": ("multiplications_per_px",),
    "photo": ("PhotoContext",),
    "pixels": ("fill_nodata",),
    "restorer": ("Restorer",),
    "spec": ("ModelSpec",),
    "tone": ("ToneMap",),
    "weights": ("Weights", "bundled_weights_path", "load_weights", "save_weights"),
    "windows": ("PixelWindow", "aligned_window", "crop_slices"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("orthosharp")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
