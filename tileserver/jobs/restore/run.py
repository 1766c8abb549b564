"""Restore the metatiles of a target, several at a time, into a folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from sr_model import PixelWindow
from tileserver.jobs.pool import Pending, Pool, Stop, ThreadPool
from tileserver.jobs.progress import JobProgress, Tally
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.jobs.retry import FAILURES, reason_of, with_retries
from tileserver.render.renderer import Renderer
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX


def metatile_threads(
    target: Target, metatiles: MetatileFolder, renderer: Renderer, jobs: int
) -> Pool[PixelWindow, str]:
    """Return threads that restore metatiles into the folder; a result is the reason of a failure, or empty.

    Args:
        target: the area to restore.
        metatiles: folder for the metatiles.
        renderer: restores them.
        jobs: number of metatiles to work on at the same time.
    """

    def work(metatile: PixelWindow, stop: Stop) -> str:
        def restore() -> None:
            metatiles.put(renderer.metatile(target.view, metatile, Stages()).crop(metatile))

        try:
            with_retries(restore, stop)
        except FAILURES as error:
            return reason_of(error)
        return ""

    return ThreadPool(work, jobs, "orthosharp-restore")


def restore_metatiles(
    target: Target,
    metatiles: MetatileFolder,
    pool: Pool[PixelWindow, str],
    report: Callable[[JobProgress], None],
) -> tuple[Tally, dict[PixelWindow, str]]:
    """Restore the metatiles that are not restored yet.

    Args:
        target: the area to restore.
        metatiles: folder for the metatiles.
        pool: restores metatiles into the folder, as `metatile_threads`; closed at the end.
        report: called after each metatile.

    Returns:
        Counts of the run, and the reason of each metatile that failed.

    Raises:
        OutputError: metatiles cannot be written.
        SourceChangedError: the photograph was replaced during the run.
    """
    tally = Tally(target.metatile_count, METATILE_PX**2)
    failed: dict[PixelWindow, str] = {}
    try:
        for metatile, pending in _ahead(pool, target, metatiles):
            if pending is None:
                tally.units_before += 1
                continue
            if failure := pending.result():
                failed[metatile] = failure
                tally.failures += 1
            else:
                tally.units_made += 1
            report(tally.progress())
    finally:
        pool.close()
    return tally, failed


def _ahead(
    pool: Pool[PixelWindow, str], target: Target, metatiles: MetatileFolder
) -> Iterator[tuple[PixelWindow, Pending[str] | None]]:
    """Yield all metatiles in order; the result is None for those restored by earlier runs."""
    waiting: deque[tuple[PixelWindow, Pending[str]]] = deque()
    for metatile in target.metatiles():
        if metatiles.has(metatile):
            yield metatile, None
            continue
        waiting.append((metatile, pool.submit(metatile)))
        if len(waiting) >= pool.ahead:
            yield waiting.popleft()
    yield from waiting
