"""`orthosharp seed` and `restore` on a cluster: ranges of metatiles as tasks, and networks as actors."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray

from sr_model import PixelWindow, Weights
from tileserver.cluster.connect import connected
from tileserver.cluster.host import WantedNetwork
from tileserver.cluster.network_actor import ActorTransport, check_alike, start_networks
from tileserver.cluster.ranges import RANGES_PER_NETWORK, RETRIES, RangePool
from tileserver.cluster.remote_network import ask, opens_on
from tileserver.cluster.restore_worker import Restored, RestoreTask, restore_range
from tileserver.cluster.seed_worker import SeedTask, seed_range
from tileserver.jobs.pool import Pool, Stop
from tileserver.jobs.restore.job import Job
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.retry import with_retries
from tileserver.jobs.seed.output import Output
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.units import TileEncoding, Unit
from tileserver.render.networks import LeasedNetwork, OpenRestorer, open_restorer
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress

_LOST: Final = "the workers that had it died several times: see Ray's log"
# The networks have to start, and to open.
_STARTS_S: Final = 300.0


class JobCluster:
    """The networks and workers of one job; see `job_cluster`.

    Args:
        networks: number of networks.
        threads: metatiles that a worker works on at the same time.
        open_restorer: opens a network in one of the cluster's processes.
    """

    def __init__(self, networks: int, threads: int, open_restorer: OpenRestorer = open_restorer) -> None:
        self._count, self._threads = networks, threads
        self._open_restorer = open_restorer
        self._actors: list[Any] = []

    def open_network(self, weights: Weights, settings: Settings) -> LeasedNetwork:
        """Start the networks of the job; an `OpenNetwork`.

        Raises:
            ClusterError: the cluster has too few devices, or its hosts differ.
            sr_model.SrModelError: the weights cannot be read there, or the device is missing.
        """
        self._actors = start_networks(
            self._count, self._open_restorer, batch=settings.batch, device=settings.device
        )
        wanted = WantedNetwork.of(settings, weights.digest)
        answers = [ActorTransport([actor]).send("describe", "", wanted) for actor in self._actors]
        check_alike([ask(lambda answer=answer: answer, _STARTS_S) for answer in answers])  # type: ignore[misc]
        return opens_on(ActorTransport(self._actors))(weights, settings)

    def seed_pool(
        self,
        service: TileService,
        plan: SeedPlan,
        encoding: TileEncoding,
        output: Output,
        *,
        changed_only: bool,
    ) -> Pool[TileAddress, Unit]:
        """Return the pool of a seed run. Workers write to a bucket; to a disk, this process alone writes."""
        bucket = output.name if output.disk is None else ""
        task = ray.put(
            SeedTask(
                key=uuid.uuid4().hex,
                settings=service.settings,
                plan=plan,
                encoding=encoding,
                bucket=bucket,
                changed_only=changed_only,
                identity=service.identity,
                networks=self._actors,
                threads=self._threads,
            )
        )

        def receive(_: TileAddress, unit: Unit | None, stop: Stop) -> Unit:
            if unit is None:
                return Unit([], None, failure=_LOST)
            if not bucket:
                with_retries(lambda: output.deliver(unit.tiles), stop)
            return unit

        def start(number: int, units: list[TileAddress]) -> Any:
            return _remote(seed_range).remote(task, number, units)

        return RangePool(start, receive, self._ranges())

    def restore_pool(
        self, job: Job, settings: Settings, metatiles: MetatileFolder, options: Mapping[str, Any]
    ) -> Pool[PixelWindow, str]:
        """Return the pool of a restoration; this process alone writes to the folder."""
        task = ray.put(
            RestoreTask(
                key=uuid.uuid4().hex,
                settings=settings,
                options={name: options[name] for name in ("tms", "chips", "format")},
                made_of=job.settings,
                networks=self._actors,
                threads=self._threads,
            )
        )

        def receive(metatile: PixelWindow, restored: Restored | None, stop: Stop) -> str:
            if restored is None:
                return _LOST
            if not restored.failure:
                with_retries(lambda: metatiles.put_packed(metatile, restored.packed), stop)
            return restored.failure

        def start(number: int, windows: list[PixelWindow]) -> Any:
            return _remote(restore_range).remote(task, number, windows)

        return RangePool(start, receive, self._ranges())

    def _ranges(self) -> int:
        """Ranges at a time: reading and encoding take more processors than one network keeps busy."""
        return max(RANGES_PER_NETWORK * self._count, int(ray.cluster_resources().get("CPU", 0.0)))


@contextmanager
def job_cluster(
    address: str, networks: int, threads: int, open_restorer: OpenRestorer = open_restorer
) -> Iterator[JobCluster]:
    """Connect to a cluster for one job.

    Args:
        address: `local`, or HOST:PORT of the cluster's head.
        networks: number of networks.
        threads: metatiles that a worker works on at the same time.
        open_restorer: opens a network in one of the cluster's processes.

    Raises:
        ClusterError: the cluster does not answer.
    """
    with connected(address, RANGES_PER_NETWORK * networks):
        yield JobCluster(networks, threads, open_restorer)


def _remote(function: Any) -> Any:
    """Return a function as a task that yields results, and that Ray repeats if its worker or host dies."""
    return ray.remote(function).options(num_cpus=1, num_returns="streaming", max_retries=RETRIES)
