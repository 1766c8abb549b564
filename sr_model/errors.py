"""The errors that sr_model raises on purpose.

SrModelError
├── WeightsError              a weights file is missing, unreadable, altered or of an unknown architecture
├── GsdMismatchError          the photograph's ground sample distance is outside the range of the weights
├── RuntimeUnavailableError   the requested runtime or device is not available
├── InputError                an array has the wrong shape or dtype
└── InferenceError            the network failed, or returned values that are not a picture
"""


class SrModelError(Exception):
    """Root of the tree; every message ends with a way out."""


class WeightsError(SrModelError):
    """A weights file is missing, unreadable, altered or of an unknown architecture."""


class GsdMismatchError(SrModelError):
    """The photograph's ground sample distance is outside the range that the weights were trained for."""


class RuntimeUnavailableError(SrModelError):
    """The requested runtime or device is not available."""


class InputError(SrModelError):
    """An array has the wrong shape or dtype."""


class InferenceError(SrModelError):
    """The network failed, or returned values that are not a picture."""
