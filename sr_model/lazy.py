"""Public names that are loaded when they are first used (PEP 562): importing a package loads nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, public: Sequence[str], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Args:
        package: its `__name__`; it is being imported.
        public: its `__all__`. `__version__` is that of the distribution.
        modules: where public names are defined, relative to the package; the others are defined in its `errors`.
    """
    namespace = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("orthosharp")
        else:
            value = getattr(import_module(f"{package}.{modules.get(name, 'errors')}"), name)
        namespace[name] = value
        return value

    return load, lambda: sorted({*namespace, *public})
