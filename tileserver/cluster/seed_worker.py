"""Units of a seed run on another machine: what a worker is told, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from ray.actor import ActorHandle

from tileserver.archives.identity import MapIdentity
from tileserver.cluster.membership import check_identity
from tileserver.cluster.network_actor import ActorTransport
from tileserver.cluster.remote_network import opens_on
from tileserver.jobs.pool import ThreadPool
from tileserver.jobs.seed.open_output import open_output
from tileserver.jobs.seed.output import Tiles
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.units import TileEncoding, Unit, UnitMaker
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.tiling.grid import TileAddress

# A worker that works for the next job closes what it opened for the one before.
_JOBS_OPEN: Final = 1


@dataclass(frozen=True)
class SeedTask:
    """What every worker of a run is told.

    Attributes:
        key: identifies the run.
        settings: of the map. The photograph is read where it lies.
        plan, encoding: which tiles to make, and how to encode them.
        bucket: URL of the bucket that workers write tiles to; empty if the run's own process writes them.
        changed_only: whether files of the same bytes are left alone there.
        identity: what the tiles have to be made of.
        networks: the actors that have networks.
        threads: units that a worker works on at the same time.
    """

    key: str
    settings: Settings = field(compare=False)
    plan: SeedPlan = field(compare=False)
    encoding: TileEncoding = field(compare=False)
    bucket: str = field(compare=False)
    changed_only: bool = field(compare=False)
    identity: MapIdentity = field(compare=False)
    networks: list[ActorHandle] = field(compare=False)
    threads: int = field(compare=False)


def seed_range(task: SeedTask, number: int, units: list[TileAddress]) -> Iterator[Unit]:
    """Make a range of units; yields their results in order.

    Raises:
        ClusterError: this host would make other tiles.
        TileServerError, sr_model.SrModelError: as `UnitMaker.make`.
    """
    worker = _worker(task)
    worker.transport.turn = number
    pool = ThreadPool(worker.units.make, task.threads, "orthosharp-seed")
    try:
        for pending in [pool.submit(unit) for unit in units]:
            unit = pending.result()
            # What lies in the bucket need not travel once more.
            yield replace(unit, tiles=[(tile, b"") for tile, _ in unit.tiles]) if task.bucket else unit
    finally:
        pool.close()


@dataclass(frozen=True)
class _Worker:
    transport: ActorTransport
    units: UnitMaker


@lru_cache(_JOBS_OPEN)
def _worker(task: SeedTask) -> _Worker:
    """Open the photograph for a run; later ranges of the run find it open."""
    transport = ActorTransport(task.networks)
    service = TileService(task.settings, Shared(task.settings, opens_on(transport)))
    check_identity(service.identity, task.identity)
    deliver: Callable[[Tiles], None] = _ignore
    if task.bucket:
        output = open_output(task.bucket, task.encoding.format, changed_only=task.changed_only)
        deliver = output.deliver
    return _Worker(transport, UnitMaker(service, task.plan, task.encoding, deliver))


def _ignore(_: Tiles) -> None:
    """Deliver nothing: the process with the journal does."""
