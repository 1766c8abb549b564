"""A network that runs in another process of the cluster, as maps and jobs use it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from sr_model import InferenceError, PhotoContext, Weights
from tileserver.cluster.host import WantedNetwork
from tileserver.errors import AbandonedError, OverloadedError
from tileserver.render.network_queue import PLAIN
from tileserver.render.networks import LeasedNetwork, OpenNetwork
from tileserver.settings import Settings
from tileserver.stages import POLL_S, Stages, Wanted, always
from tileserver.tiling.raster import UInt8Array

# A process that dies takes its windows with it; those that it had are sent to others, this often.
_SENT_AT_MOST: Final = 4
# The first answer may have to wait until a process has started and opened the network.
_OPENS_S: Final = 300.0


class Answer(Protocol):
    """What a remote call will return."""

    def result(self, *, timeout_s: float) -> Any:
        """Wait for it.

        Raises:
            TimeoutError: it is not there yet.
        """

    def cancel(self) -> None:
        """Give it up."""


class Transport(Protocol):
    """The way to the processes that have networks."""

    def send(self, method: str, key: str, *arguments: Any) -> Answer:
        """Call a method of one of them; calls with the same key go to the same one while there is no other reason."""


class RemoteNetwork:
    """A `Network` in other processes; see there.

    Args:
        transport: the way to them.
        wanted: the network that they open.
        weights: its weights, for their spec.

    Raises:
        ClusterError, sr_model.SrModelError: they refuse it.
    """

    def __init__(self, transport: Transport, wanted: WantedNetwork, weights: Weights) -> None:
        self.spec, self.digest = weights.spec, weights.digest
        self._transport, self._wanted = transport, wanted
        self.runtime: str = self._call("describe")

    def warm_up(self, side_px: int) -> float:
        """See `Network.warm_up`."""
        return float(self._call("warm_up", side_px))

    def _call(self, method: str, *arguments: Any) -> Any:
        def send() -> Answer:
            return self._transport.send(method, self.digest, self._wanted, *arguments)

        return ask(send, _OPENS_S)


class RemoteQueue:
    """A `WindowQueue` to other processes; see there.

    A window's key is a digest of its bytes, so that all processes of the cluster agree on who restores it: the process
    that owns the key restores it once, however many ask for it.

    Args:
        transport: the way to them.
        wanted: the network that they open.
        deadline_s: longest time from sending a window to its result, in seconds.
    """

    def __init__(self, transport: Transport, wanted: WantedNetwork, deadline_s: float) -> None:
        self._transport, self._wanted = transport, wanted
        self._deadline_s = deadline_s
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return self._waiting

    def restore(self, rgb: UInt8Array, stages: Stages, photo: PhotoContext = PLAIN) -> UInt8Array:
        """See `NetworkQueue.restore`."""
        if self._closed:
            raise OverloadedError("the server is shutting down: try again in a moment")
        key = window_key(rgb, photo)

        def send() -> Answer:
            return self._transport.send("restore", key, self._wanted, key, rgb, photo)

        started = time.perf_counter()
        self._count(1)
        try:
            restored, infer_s = ask(send, self._deadline_s, stages.wanted)
        finally:
            self._count(-1)
        stages.add("infer", infer_s)
        stages.add("queue", max(0.0, time.perf_counter() - started - infer_s))
        pixels: UInt8Array = restored
        return pixels

    def close(self) -> None:
        """See `WindowQueue.close`."""
        self._closed = True

    def _count(self, change: int) -> None:
        with self._lock:
            self._waiting += change


def window_key(rgb: UInt8Array, photo: PhotoContext) -> str:
    """Return a digest of what the network is given: equal keys have equal answers."""
    digest = hashlib.blake2b(repr((rgb.shape, photo)).encode(), digest_size=16)
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def ask(send: Callable[[], Answer], deadline_s: float, wanted: Wanted = always) -> Any:
    """Send a call and wait for its answer; of a process that dies meanwhile, the call is sent to another.

    Args:
        send: sends the call.
        deadline_s: longest wait, in seconds.
        wanted: returns whether a client still waits.

    Raises:
        OverloadedError: the cluster has no room for the call, or the deadline has passed.
        AbandonedError: no client waits any more.
        InferenceError: the cluster failed.
        TileServerError, sr_model.SrModelError: what the call itself raised.
    """
    deadline = time.monotonic() + deadline_s
    for left in reversed(range(_SENT_AT_MOST)):
        try:
            return _answer(send(), deadline, deadline_s, wanted)
        except RayTaskError as error:
            raise cause_of(error) from error
        except BackPressureError as error:
            raise OverloadedError("the networks of the cluster are busy: try again in a moment") from error
        except (RayActorError, DeploymentUnavailableError, RequestCancelledError) as error:
            if not left:
                raise InferenceError(
                    "the processes with the network died several times: see Ray's log"
                ) from error
        except RayError as error:
            raise InferenceError(f"the cluster failed ({type(error).__name__}): see Ray's log") from error
    raise AssertionError


def _answer(answer: Answer, deadline: float, deadline_s: float, wanted: Wanted) -> Any:
    while True:
        left_s = deadline - time.monotonic()
        try:
            return answer.result(timeout_s=min(POLL_S, max(left_s, 0)))
        except TimeoutError:
            if not wanted():
                answer.cancel()
                raise AbandonedError("every client that asked for this has disconnected") from None
            if left_s <= 0:
                answer.cancel()
                raise OverloadedError(
                    f"the network had no time for this tile within {deadline_s:g} s: try again", 5
                ) from None


def cause_of(error: RayTaskError) -> Exception:
    """Return what the remote code raised; Ray wraps it in an error whose text is a traceback."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else InferenceError("the cluster failed: see Ray's log")


def opens_on(transport: Transport) -> OpenNetwork:
    """Return the function that opens networks behind a transport, for `Networks`."""

    def open_network(weights: Weights, settings: Settings) -> LeasedNetwork:
        wanted = WantedNetwork.of(settings, weights.digest)
        network = RemoteNetwork(transport, wanted, weights)
        return LeasedNetwork(network, RemoteQueue(transport, wanted, settings.deadline_s))

    return open_network
