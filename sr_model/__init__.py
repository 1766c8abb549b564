"""The network that restores old aerial photographs, and the contract that training and serving share."""

from sr_model.errors import (
    GsdMismatchError,
    InferenceError,
    InputError,
    RuntimeUnavailableError,
    SrModelError,
    WeightsError,
)
from sr_model.pixels import fill_nodata
from sr_model.restorer import Restorer
from sr_model.spec import ModelSpec
from sr_model.tone import ToneMap
from sr_model.weights import Weights, bundled_weights_path, load_weights, save_weights
from sr_model.windows import PixelWindow, aligned_window, crop_slices

__all__ = [
    "GsdMismatchError",
    "InferenceError",
    "InputError",
    "ModelSpec",
    "PixelWindow",
    "Restorer",
    "RuntimeUnavailableError",
    "SrModelError",
    "ToneMap",
    "Weights",
    "WeightsError",
    "aligned_window",
    "bundled_weights_path",
    "crop_slices",
    "fill_nodata",
    "load_weights",
    "save_weights",
]
