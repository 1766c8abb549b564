"""TEMPORARY: replaced by the branch judges."""
from types import SimpleNamespace

PhotoTraits = SimpleNamespace
def estimate_traits(path, **_):
    return SimpleNamespace(resolution_px=1.0)
