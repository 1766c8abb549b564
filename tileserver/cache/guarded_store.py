"""A tile store behind timeouts and a circuit breaker: if it fails, tiles are slower but never missing."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from tileserver.cache.circuit_breaker import CircuitBreaker
from tileserver.cache.store import TileStore
from tileserver.errors import DamagedError, StoreError
from tileserver.tiling.tile import TileKey

logger = logging.getLogger("orthosharp")
T = TypeVar("T")

# Receives the kind of each error: timeout, busy, failed or damaged.
CountError = Callable[[str], None]


class DaemonPool:
    """Daemon threads for calls that may hang: nothing waits for them, not even the end of the process.

    Args:
        threads: number of threads.
        waiting: calls that may wait for a thread.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._work: queue.Queue[tuple[Future[object], Callable[[], object]] | None] = queue.Queue(waiting)
        self._threads = [
            threading.Thread(target=self._run, name=f"orthosharp-store-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` in a thread.

        Raises:
            queue.Full: too many calls wait.
        """
        future: Future[T] = Future()
        self._work.put_nowait((future, call))  # type: ignore[arg-type]
        return future

    def close(self, timeout_s: float) -> None:
        """Finish waiting calls, as far as the timeout allows."""
        deadline = time.monotonic() + timeout_s
        for _ in self._threads:
            try:
                self._work.put(None, timeout=max(0.0, deadline - time.monotonic()))
            except queue.Full:
                return
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - raised in the caller, by the future
                    future.set_exception(error)


class GuardedStore:
    """Calls a store on behalf of requests: reads within a timeout, writes in the background.

    Args:
        store: the store, which may be slow or fail.
        timeout_s: longest wait for a read, in seconds.
        count_error: receives the kind of each error, for the metrics.
        circuit: circuit breaker of reads.
    """

    def __init__(
        self,
        store: TileStore,
        timeout_s: float,
        count_error: CountError,
        circuit: CircuitBreaker | None = None,
    ) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._count_error = count_error
        self._circuits = {"read": circuit or CircuitBreaker(), "written": CircuitBreaker()}
        self._warned_of_damage = False
        self._readers = DaemonPool(threads=8, waiting=64)
        self._writers = DaemonPool(threads=2, waiting=256)

    @property
    def is_open(self) -> bool:
        """Whether calls to the store are stopped at the moment."""
        return any(circuit.is_open for circuit in self._circuits.values())

    def get(self, key: TileKey) -> bytes | None:
        """Return the stored tile, or None if there is none or the store fails."""
        if not self._circuits["read"].allows():
            return None
        try:
            future = self._readers.submit(lambda: self._store.get(key))
        except queue.Full:
            self._failed("read", "busy")
            return None
        try:
            body = future.result(self._timeout_s)
        except FutureTimeoutError:
            future.cancel()
            self._failed("read", "timeout")
            return None
        except DamagedError:
            self._count_error("damaged")
            if not self._warned_of_damage:
                self._warned_of_damage = True
                logger.warning("%s has damaged tiles: they are rendered again", self._store.name)
            return None
        except Exception as error:  # noqa: BLE001 - a failing store must not fail the request
            self._failed("read", "failed", error)
            return None
        self._worked("read")
        return body

    def put(self, key: TileKey, body: bytes) -> None:
        """Store a tile in the background; it is dropped if too many writes wait."""
        if not self._store.writable or not self._circuits["written"].allows():
            return

        def write() -> None:
            try:
                self._store.put(key, body)
            except Exception as error:  # noqa: BLE001 - a failing store must not fail the request
                self._failed("written", "failed", error)
            else:
                self._worked("written")

        try:
            self._writers.submit(write)
        except queue.Full:
            self._failed("written", "busy")

    def close(self) -> None:
        """Finish waiting writes, as far as the timeout allows, and close the store."""
        self._writers.close(self._timeout_s)
        self._readers.close(self._timeout_s)
        self._store.close()

    def _failed(self, verb: str, kind: str, error: Exception | None = None) -> None:
        self._count_error(kind)
        if self._circuits[verb].failed():
            reason = (error.__cause__ or error) if isinstance(error, StoreError) else error or kind
            logger.warning(
                "%s cannot be %s: no calls are made for a while (%s)", self._store.name, verb, reason
            )

    def _worked(self, verb: str) -> None:
        if self._circuits[verb].succeeded():
            logger.warning("%s can be %s again", self._store.name, verb)
