"""Patience of long work: what failed is tried again after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from sr_model import InferenceError
from tileserver.errors import OutputError, OverloadedError, ReadError

T = TypeVar("T")

# What fails for one metatile, and not for the next one.
FAILURES: Final = (ReadError, InferenceError, OverloadedError)
# A damaged block stays damaged; a store or a network may be away for a minute.
RETRY_S: Final = (0.5, 2.0)
RETRY_OUTPUT_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def with_retries(work: Callable[[], T], stop: threading.Event) -> T:
    """Do some work, and again after longer and longer pauses while it fails.

    Args:
        work: what to do; doing it twice does no harm.
        stop: ends the patience when set.

    Raises:
        ReadError, sr_model.InferenceError, OverloadedError, OutputError: it failed at the last try too.
    """
    pauses, output_pauses = iter(RETRY_S), iter(RETRY_OUTPUT_S)
    while True:
        try:
            return work()
        except (*FAILURES, OutputError) as error:
            pause = next(output_pauses if isinstance(error, OutputError) else pauses, None)
            if pause is None or stop.wait(pause):
                raise
