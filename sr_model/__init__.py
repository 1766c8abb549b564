"""The network that restores old aerial photographs, and the contract that training and serving share.

Names are loaded when they are first used, so that a program that needs a window's arithmetic or an error class waits
for neither torch nor OpenVINO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sr_model.lazy import lazy_names

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
    from sr_model.shipped import bundled_weights_path, weights_path
    from sr_model.spec import ModelSpec
    from sr_model.tone import ToneMap
    from sr_model.weights import Weights, load_weights, save_weights
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
    "weights_path",
]

# Where public names are defined; those that are not here are exceptions, and all in `errors`.
_MODULES: Final = {
    "ModelSpec": "spec",
    "PhotoContext": "photo",
    "PixelWindow": "windows",
    "Restorer": "restorer",
    "ToneMap": "tone",
    "Weights": "weights",
    "aligned_window": "windows",
    "bundled_weights_path": "shipped",
    "crop_slices": "windows",
    "dehalo": "halo",
    "fill_nodata": "pixels",
    "load_weights": "weights",
    "multiplications_per_px": "network",
    "save_weights": "weights",
    "weights_path": "shipped",
}

# Hidden from type checkers, which then find misspelt names.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, __all__, _MODULES)
