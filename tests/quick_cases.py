"""Many cases of one test, of which `make test` runs a few and `make test-all` all."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick_cases(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """Mark all cases but the quick ones as slow, for `pytest.mark.parametrize`.

    Args:
        cases: values of one parameter, or tuples of the values of several.
        quick: those that run with the fast tests; each must be one of them.
    """
    every = list(cases)
    unknown = [case for case in quick if case not in every]
    assert not unknown, f"no such cases: {unknown}"
    return [case if case in quick else _slow(case) for case in every]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
