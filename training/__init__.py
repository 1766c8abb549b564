"""Pairs of an old and a new photograph of the same ground, to weights.

`__all__` lists the public interface; docs/api.md describes it. Names are loaded when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sr_model.lazy import lazy_names

if TYPE_CHECKING:
    from training.data.degrade import age
    from training.errors import DatasetError, PairError, TrainingError
    from training.fit.config import FitConfig
    from training.pairs.make import PairOptions, make_pairs

    __version__: str

__all__ = [
    "DatasetError",
    "FitConfig",
    "PairError",
    "PairOptions",
    "TrainingError",
    "__version__",
    "age",
    "make_pairs",
]

# Where public names are defined; those that are not here are exceptions, and all in `errors`.
_MODULES: Final = {
    "FitConfig": "fit.config",
    "PairOptions": "pairs.make",
    "age": "data.degrade",
    "make_pairs": "pairs.make",
}

# Hidden from type checkers, which then find misspelt names.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, __all__, _MODULES)
