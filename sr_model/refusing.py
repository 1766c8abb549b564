"""The way that the commands of both packages refuse: one line on standard error, and exit code 2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Final

from sr_model.errors import SrModelError

REFUSED: Final = 2


@contextlib.contextmanager
def refusing(prefix: str, *errors: type[Exception]) -> Iterator[None]:
    """End the program with one line and exit code 2 when a command cannot start.

    Args:
        prefix: the first word of the line.
        errors: that mean so, besides `SrModelError`.
    """
    reasons: tuple[type[Exception], ...] = (SrModelError, *errors)
    try:
        yield
    except reasons as error:
        sys.stderr.write(f"{prefix}: {error}\n")
        sys.exit(REFUSED)
