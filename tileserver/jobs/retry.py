"""Retries of jobs: failed work is tried again after a pause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from sr_model import InferenceError
from tileserver.errors import OutputError, OverloadedError, ReadError

T = TypeVar("T")

# Errors of a single metatile, which do not end the job.
FAILURES: Final = (ReadError, InferenceError, OverloadedError)
# Pauses before retries. A damaged block stays damaged; a store may be unavailable for a minute.
RETRY_S: Final = (0.5, 2.0)
RETRY_OUTPUT_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def reason_of(failure: Exception) -> str:
    """Return why a metatile failed, for the list of failures: of a damaged photograph with file and block."""
    place = failure.place if isinstance(failure, ReadError) else ""
    return f"{failure} ({place})" if place else str(failure)


def with_retries(work: Callable[[], T], stop: threading.Event) -> T:
    """Call `work`, and call it again after increasing pauses while it fails.

    Args:
        work: the call; it must be safe to repeat.
        stop: no more retries once this is set.

    Raises:
        ReadError, sr_model.InferenceError, OverloadedError, OutputError: the error of the last attempt.
    """
    pauses, output_pauses = iter(RETRY_S), iter(RETRY_OUTPUT_S)
    while True:
        try:
            return work()
        except (*FAILURES, OutputError) as error:
            pause = next(output_pauses if isinstance(error, OutputError) else pauses, None)
            if pause is None or stop.wait(pause):
                raise
