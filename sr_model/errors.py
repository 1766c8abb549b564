"""Everything that sr_model raises on purpose.

SrModelError
├── WeightsError              a weights file is missing, unreadable, altered or of an unknown architecture
├── GsdMismatchError          the photograph's ground sample distance is outside what the weights were trained for
├── RuntimeUnavailableError   the runtime or device that was asked for is not there
├── InputError                an array of the wrong shape or dtype
└── InferenceError            the network failed, or returned values that are no picture
"""


class SrModelError(Exception):
    """Root of the tree; its message ends with the way out."""


class WeightsError(SrModelError):
    """A weights file is missing, unreadable, altered or of an unknown architecture."""


class GsdMismatchError(SrModelError):
    """The photograph's ground sample distance is outside what the weights were trained for."""


class RuntimeUnavailableError(SrModelError):
    """The runtime or device that was asked for is not there."""


class InputError(SrModelError):
    """An array of the wrong shape or dtype."""


class InferenceError(SrModelError):
    """The network failed, or returned values that are no picture."""
