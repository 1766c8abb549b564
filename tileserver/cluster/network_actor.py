"""Networks of a job: actors with a share of the cluster's devices, which Ray starts again when they die."""

from __future__ import annotations

from typing import Any, Final

import ray
from ray.actor import ActorHandle

from sr_model import PhotoContext
from tileserver.cluster.host import NetworkHost, WantedNetwork
from tileserver.errors import ClusterError
from tileserver.render.network_queue import NetworkQueue
from tileserver.render.networks import OpenRestorer
from tileserver.settings import DeviceName
from tileserver.stages import Stages
from tileserver.tiling.raster import UInt8Array

# Windows that an actor takes in at a time: two of the largest batch, so that it never waits for one.
_CALLS: Final = 16
# A job has time.
_DEADLINE_S: Final = 3600.0


class NetworkActor:
    """A network that restores the windows of several workers, in batches where that is faster.

    Args:
        open_restorer: opens the network.
        batch: largest batch; the network's own choice if None.
    """

    def __init__(self, open_restorer: OpenRestorer, batch: int | None) -> None:
        self._host = NetworkHost(open_restorer)
        self._batch = batch
        self._queues: dict[WantedNetwork, NetworkQueue] = {}

    def describe(self, wanted: WantedNetwork) -> str:
        """Open a network and return its runtime, device and precision; raises as `NetworkHost.get`."""
        network = self._host.get(wanted)
        if wanted not in self._queues:
            self._queues[wanted] = NetworkQueue(
                network,
                max_waiting=_CALLS,
                deadline_s=_DEADLINE_S,
                batch=self._batch,
                callers=network.callers,
            )
        return network.runtime

    def warm_up(self, wanted: WantedNetwork, side_px: int) -> float:
        """See `Network.warm_up`."""
        return self._host.get(wanted).warm_up(side_px)

    def restore(
        self, wanted: WantedNetwork, _: str, rgb: UInt8Array, photo: PhotoContext
    ) -> tuple[UInt8Array, float]:
        """Restore one window; see `NetworkQueue.restore`. Also returns the seconds in the network."""
        if wanted not in self._queues:
            # Ray has started the actor again.
            self.describe(wanted)
        stages = Stages()
        return self._queues[wanted].restore(rgb, stages, photo), stages.seconds["infer"]


class RefAnswer:
    """The `Answer` of an actor's method."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref

    def result(self, *, timeout_s: float) -> Any:
        """See `Answer.result`."""
        return ray.get(self._ref, timeout=timeout_s)

    def cancel(self) -> None:
        """See `Answer.cancel`: an actor's call that has begun is finished."""
        ray.cancel(self._ref)


class ActorTransport:
    """A `Transport` to the actors of a job.

    Args:
        actors: the actors.

    Attributes:
        turn: number of the call's actor, modulo their number: a worker has one for all of its range, so that ranges,
            which take equally long, keep all actors equally busy.
    """

    def __init__(self, actors: list[ActorHandle]) -> None:
        self._actors = actors
        self.turn = 0

    def send(self, method: str, _: str, *arguments: Any) -> RefAnswer:
        """See `Transport.send`."""
        actor = self._actors[self.turn % len(self._actors)]
        return RefAnswer(getattr(actor, method).remote(*arguments))


def start_networks(
    count: int, open_restorer: OpenRestorer, *, batch: int | None, device: DeviceName
) -> list[ActorHandle]:
    """Start actors; each has a GPU if the cluster has any, and the device in the settings is not the CPU.

    Args:
        count: number of actors.
        open_restorer: opens the network in an actor.
        batch: largest batch; the network's own choice if None.
        device: device in the settings.

    Raises:
        ClusterError: the cluster has fewer GPUs than actors.
    """
    gpus = ray.cluster_resources().get("GPU", 0.0) if device != "cpu" else 0.0
    if 0 < gpus < count:
        raise ClusterError(f"the cluster has {gpus:g} GPUs: give --networks {gpus:.0f} or less")
    actor = ray.remote(NetworkActor).options(
        # None, so that one that is started again never waits for a worker that waits for it.
        num_cpus=0,
        scheduling_strategy="SPREAD",
        num_gpus=1 if gpus else 0,
        max_concurrency=_CALLS,
        max_restarts=-1,
        max_task_retries=-1,
    )
    return [actor.remote(open_restorer, batch) for _ in range(count)]


def check_alike(runtimes: list[str]) -> None:
    """Check that all networks of a job run alike: tiles of two precisions must not lie side by side in one output.

    Raises:
        ClusterError: they do not.
    """
    if len(set(runtimes)) > 1:
        raise ClusterError(
            f"the networks of the cluster differ ({', '.join(sorted(set(runtimes)))}): name --device and --runtime"
        )
