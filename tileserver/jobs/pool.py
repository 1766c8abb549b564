"""Workers of a job: threads of this process, or machines of a cluster, behind one protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

# Whether the job is being stopped, so that nothing is tried again.
Stop = threading.Event


class Pending(Protocol[R_co]):
    """A result that may not be there yet."""

    def result(self) -> R_co:
        """Wait for the result; raises what the work raised."""


class Pool(Protocol[T_contra, R_co]):
    """Works on items in the order in which they are submitted, several at a time.

    Attributes:
        ahead: number of items to submit ahead of the one whose result is waited for.
    """

    ahead: int

    def submit(self, item: T_contra, /) -> Pending[R_co]:
        """Begin to work on an item as soon as there is a free worker."""

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""


class ThreadPool(Generic[T, R]):
    """A `Pool` of threads in this process.

    Args:
        work: makes the result of an item; is given an event that is set when the job stops.
        threads: number of items to work on at the same time.
        name: prefix of the threads' names.
    """

    def __init__(self, work: Callable[[T, Stop], R], threads: int, name: str) -> None:
        self.ahead = 2 * threads
        self._work = work
        self._stop = Stop()
        self._threads = ThreadPoolExecutor(threads, name)

    def submit(self, item: T, /) -> Pending[R]:
        """See `Pool.submit`."""
        return self._threads.submit(self._work, item, self._stop)

    def close(self) -> None:
        """See `Pool.close`."""
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)
