"""A bounded queue with a deadline in front of the network.

One pass of the network uses all cores or the whole accelerator, so few threads feed it: as many as the runtime asks
for. Waiting windows form a batch where that is faster. A full queue refuses at once, instead of growing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from sr_model import InferenceError, ModelSpec, PhotoContext
from sr_model.errors import SrModelError
from tileserver.errors import AbandonedError, OverloadedError
from tileserver.stages import POLL_S, Stages, Wanted
from tileserver.tiling.raster import UInt8Array

# For networks that restore every photograph alike.
PLAIN: Final = PhotoContext()


# A pass of the network that takes longer is taken for one that never ends.
_HANGS_S: Final = 600.0


class Network(Protocol):
    """A network as a map sees it: on this machine a `sr_model.Restorer`, or one on another machine.

    Attributes:
        spec: what its weights declare about themselves.
        digest: of the weights.
    """

    spec: ModelSpec
    digest: str

    @property
    def runtime(self) -> str:
        """Name of runtime, device and precision."""

    def warm_up(self, side_px: int) -> float:
        """Run square windows once; return the seconds that a window takes, about."""


class WindowQueue(Protocol):
    """Windows on their way to a network: a `NetworkQueue`, or the way to another machine."""

    def __len__(self) -> int:
        """Return the number of windows that wait."""

    def restore(self, rgb: UInt8Array, stages: Stages, photo: PhotoContext = ...) -> UInt8Array:
        """See `NetworkQueue.restore`."""

    def close(self) -> None:
        """Refuse all further windows."""


class BatchedNetwork(Protocol):
    """The part of `sr_model.Restorer` that the queue needs."""

    @property
    def batch(self) -> int:
        """Largest number of windows that it currently pays to restore in one pass."""

    def restore(self, rgb: UInt8Array, photos: Sequence[PhotoContext]) -> UInt8Array:
        """Restore uint8 [batch, height, width, 3]; the result lacks the network's trim on each side."""


class LocalNetwork(Network, BatchedNetwork, Protocol):
    """A network in this process, such as a `sr_model.Restorer`."""

    @property
    def callers(self) -> int:
        """Number of threads that should call at the same time."""


@dataclass(eq=False)
class _Job:
    rgb: UInt8Array
    photo: PhotoContext
    wanted: Wanted
    queued: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    result: Future[UInt8Array] = field(default_factory=Future)


class NetworkQueue:
    """Feeds waiting windows to the network.

    Args:
        network: restores them.
        max_waiting: windows that may wait; one more raises OverloadedError.
        deadline_s: longest time in the queue, in seconds. A pass that has begun is waited for much longer, because its
            result can be cached, but not for ever: a device may hang.
        batch: largest number of windows of the same shape in one pass; the network's own choice if None.
        callers: threads that call the network at the same time.
    """

    def __init__(
        self,
        network: BatchedNetwork,
        *,
        max_waiting: int,
        deadline_s: float,
        batch: int | None = None,
        callers: int = 1,
    ) -> None:
        self._network = network
        self._max_waiting = max_waiting
        self._deadline_s = deadline_s
        self._pass_s = max(_HANGS_S, deadline_s)
        self._batch = batch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [self._start() for _ in range(callers)]

    def __len__(self) -> int:
        return len(self._jobs)

    def restore(self, rgb: UInt8Array, stages: Stages, photo: PhotoContext = PLAIN) -> UInt8Array:
        """Restore one window, and wait for the result.

        Args:
            rgb: uint8 [height, width, 3]; height and width are multiples of the network's stride.
            stages: receives the time in the queue as `queue`, and in the network as `infer`.
            photo: properties of the photograph for the model.

        Returns:
            uint8 [height, width, 3], less the network's trim on each side.

        Raises:
            OverloadedError: the queue is full, or the deadline has passed.
            AbandonedError: the request was dropped because no client waits for it any more.
            InferenceError: the network failed.
        """
        job = _Job(rgb, photo, stages.wanted)
        with self._changed:
            if self._closed:
                raise OverloadedError("the server is shutting down: try again in a moment")
            if len(self._jobs) >= self._max_waiting:
                self._drop_abandoned()
            if len(self._jobs) >= self._max_waiting:
                raise OverloadedError(
                    f"{len(self._jobs)} metatiles are waiting for the network: try again in a moment"
                )
            # Replace threads that have died; jobs that they had not begun are still in the queue.
            self._threads = [thread if thread.is_alive() else self._start() for thread in self._threads]
            self._jobs.append(job)
            self._changed.notify()
        restored = self._wait(job)
        stages.add("queue", job.started - job.queued)
        stages.add("infer", time.perf_counter() - job.started)
        return restored

    def _wait(self, job: _Job) -> UInt8Array:
        """Wait for a job, which leaves the queue when its client has disconnected, or when the deadline passes."""
        deadline = time.perf_counter() + self._deadline_s
        while not job.started:
            left_s = deadline - time.perf_counter()
            try:
                return job.result.result(timeout=min(POLL_S, max(left_s, 0)))
            except FutureTimeoutError:
                with self._changed:
                    # Not in the queue any more: a thread has taken it.
                    if job in self._jobs and (left_s <= 0 or not job.wanted()):
                        self._jobs.remove(job)
                        raise (self._too_late() if left_s <= 0 else _abandoned()) from None
                    if job not in self._jobs:
                        break
        try:
            return job.result.result(timeout=self._pass_s)
        except FutureTimeoutError:
            raise OverloadedError(
                f"the network has not responded for {self._pass_s:g} s: its device may hang, restart the server",
                60,
            ) from None

    def close(self) -> None:
        """Finish the running pass, and refuse all waiting windows."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="orthosharp-network", daemon=True)
        thread.start()
        return thread

    def _too_late(self) -> OverloadedError:
        return OverloadedError(
            f"the network had no time for this tile within {self._deadline_s:g} s: try again", 5
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    waiting = list(self._jobs)
                    self._jobs.clear()
                    break
                self._drop_abandoned()
                jobs = self._take()
            if jobs:
                self._run(jobs)
        for job in waiting:
            job.result.set_exception(OverloadedError("the server is shutting down: try again in a moment"))

    def _take(self) -> list[_Job]:
        """Take the first job, and those directly behind it whose windows have the same shape."""
        jobs = [self._jobs.popleft()] if self._jobs else []
        limit = self._batch or self._network.batch
        while self._jobs and len(jobs) < limit and self._jobs[0].rgb.shape == jobs[0].rgb.shape:
            jobs.append(self._jobs.popleft())
        return jobs

    def _drop_abandoned(self) -> None:
        """Remove the jobs that no client waits for any more."""
        for job in [job for job in self._jobs if not job.wanted()]:
            self._jobs.remove(job)
            job.result.set_exception(_abandoned())

    def _run(self, jobs: list[_Job]) -> None:
        now = time.perf_counter()
        for job in jobs:
            job.started = now
        try:
            restored = self._network.restore(np.stack([job.rgb for job in jobs]), [job.photo for job in jobs])
            for job, pixels in zip(jobs, restored, strict=True):
                job.result.set_result(pixels)
        except SrModelError as error:
            self._fail(jobs, error)
        except BaseException as error:  # noqa: BLE001 - every failure must reach the callers; the thread lives on
            failure = InferenceError(
                f"the network failed ({type(error).__name__}): try again, or use --device cpu"
            )
            failure.__cause__ = error
            self._fail(jobs, failure)

    @staticmethod
    def _fail(jobs: list[_Job], error: Exception) -> None:
        for job in jobs:
            if not job.result.done():
                job.result.set_exception(error)


def _abandoned() -> AbandonedError:
    return AbandonedError("every client that asked for this has disconnected")
