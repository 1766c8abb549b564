"""Metatiles of `orthosharp restore` on another machine: what a worker is told, and what it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ray.actor import ActorHandle

from sr_model import PixelWindow
from tileserver.cluster.membership import check_settings
from tileserver.cluster.network_actor import ActorTransport
from tileserver.cluster.remote_network import opens_on
from tileserver.jobs.pool import Stop, ThreadPool
from tileserver.jobs.restore.job import Job, make_job
from tileserver.jobs.restore.metatile_folder import pack
from tileserver.jobs.retry import FAILURES, reason_of, with_retries
from tileserver.metrics import Metrics
from tileserver.photo.source import Source
from tileserver.render.networks import Networks
from tileserver.render.pipeline import open_pipeline
from tileserver.settings import Settings
from tileserver.stages import Stages

_JOBS_OPEN: Final = 1
# Which part of the photograph is restored is no matter of a worker, which is told the windows.
_AREA: Final = ("window", "outline")


@dataclass(frozen=True)
class RestoreTask:
    """What every worker of a run is told.

    Attributes:
        key: identifies the run.
        settings: of the job. The photograph is read where it lies.
        options: the command's options that the pixel grid depends on.
        made_of: everything that affects pixels; see `Job.settings`.
        networks: the actors that have networks.
        threads: metatiles that a worker works on at the same time.
    """

    key: str
    settings: Settings = field(compare=False)
    options: dict[str, Any] = field(compare=False)
    made_of: dict[str, Any] = field(compare=False)
    networks: list[ActorHandle] = field(compare=False)
    threads: int = field(compare=False)


@dataclass(frozen=True)
class Restored:
    """A metatile as `pack` returns it, or the reason of its failure."""

    packed: bytes
    failure: str = ""


def restore_range(task: RestoreTask, number: int, metatiles: list[PixelWindow]) -> Iterator[Restored]:
    """Restore a range of metatiles; yields them in order.

    Raises:
        ClusterError: this host would restore other pixels.
        TileServerError, sr_model.SrModelError: as `Renderer.metatile`, except for failures of a single metatile.
    """
    worker = _worker(task)
    worker.transport.turn = number
    pool = ThreadPool(worker.restore, task.threads, "orthosharp-restore")
    try:
        for pending in [pool.submit(metatile) for metatile in metatiles]:
            yield pending.result()
    finally:
        pool.close()


@dataclass(frozen=True)
class _Worker:
    transport: ActorTransport
    job: Job
    # Keeps the photograph open as long as the worker is kept.
    opened: ExitStack

    def restore(self, metatile: PixelWindow, stop: Stop) -> Restored:
        target, renderer = self.job.target, self.job.pipeline.renderer

        def restore() -> Restored:
            raster = renderer.metatile(target.view, metatile, Stages()).crop(metatile)
            return Restored(pack(raster, target))

        try:
            return with_retries(restore, stop)
        except FAILURES as error:
            return Restored(b"", reason_of(error))


@lru_cache(_JOBS_OPEN)
def _worker(task: RestoreTask) -> _Worker:
    """Open the photograph for a run; later ranges of the run find it open."""
    transport = ActorTransport(task.networks)
    networks = Networks(Metrics(), opens_on(transport))
    with ExitStack() as opened:
        photograph = opened.enter_context(closing(Source.of_settings(task.settings)))
        pipeline = opened.enter_context(open_pipeline(photograph, task.settings, networks))
        job = make_job(pipeline, task.settings, Path(), {**task.options, "bbox": None, "area": None})
        check_settings(
            job.settings, {name: value for name, value in task.made_of.items() if name not in _AREA}
        )
        return _Worker(transport, job, opened.pop_all())
