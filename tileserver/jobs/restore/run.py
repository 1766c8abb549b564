"""Restore the metatiles of a target, several at a time, into a folder."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from sr_model import PixelWindow
from tileserver.jobs.progress import JobProgress, Tally
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.jobs.retry import FAILURES, reason_of, with_retries
from tileserver.render.renderer import Renderer
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX


def restore_metatiles(
    target: Target,
    metatiles: MetatileFolder,
    renderer: Renderer,
    jobs: int,
    report: Callable[[JobProgress], None],
) -> tuple[Tally, dict[PixelWindow, str]]:
    """Restore the metatiles that are not restored yet.

    Args:
        target: the area to restore.
        metatiles: folder for the metatiles.
        renderer: restores them.
        jobs: number of metatiles to work on at the same time.
        report: called after each metatile.

    Returns:
        Counts of the run, and the reason of each metatile that failed.

    Raises:
        OutputError: metatiles cannot be written.
        SourceChangedError: the photograph was replaced during the run.
    """
    stop = threading.Event()

    def work(metatile: PixelWindow) -> str:
        def restore() -> None:
            raster = renderer.metatile(target.view, metatile, Stages()).crop(metatile)
            metatiles.put(raster)

        try:
            with_retries(restore, stop)
        except FAILURES as error:
            return reason_of(error)
        return ""

    tally = Tally(target.metatile_count, METATILE_PX**2)
    failed: dict[PixelWindow, str] = {}
    with ThreadPoolExecutor(jobs, "orthosharp-restore") as pool:
        try:
            for metatile, future in _ahead(pool, work, target, metatiles, jobs):
                if future is None:
                    tally.units_before += 1
                    continue
                if failure := future.result():
                    failed[metatile] = failure
                    tally.failures += 1
                else:
                    tally.units_made += 1
                report(tally.progress())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return tally, failed


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[PixelWindow], str],
    target: Target,
    metatiles: MetatileFolder,
    jobs: int,
) -> Iterator[tuple[PixelWindow, Future[str] | None]]:
    """Yield all metatiles in order; the future is None for those restored by earlier runs."""
    waiting: deque[tuple[PixelWindow, Future[str]]] = deque()
    for metatile in target.metatiles():
        if metatiles.has(metatile):
            yield metatile, None
            continue
        waiting.append((metatile, pool.submit(work, metatile)))
        if len(waiting) >= 2 * jobs:
            yield waiting.popleft()
    yield from waiting
