"""Restore the metatiles of a target, several at a time, into blocks on disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from sr_model import PixelWindow
from tileserver.jobs.progress import Figures, Tally
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.jobs.retry import FAILURES, with_retries
from tileserver.render.renderer import Renderer
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX


def restore_blocks(
    target: Target,
    blocks: MetatileFolder,
    renderer: Renderer,
    jobs: int,
    report: Callable[[Figures], None],
) -> tuple[Tally, dict[PixelWindow, str]]:
    """Restore what is not restored yet.

    Args:
        target: what to restore.
        blocks: where metatiles go.
        renderer: restores them.
        jobs: metatiles that are worked on at the same time.
        report: called after each metatile.

    Returns:
        What was made, and the metatiles that failed, and why.

    Raises:
        OutputError: the disk does not take them.
        SourceChangedError: the photograph was replaced meanwhile.
    """
    stop = threading.Event()

    def work(metatile: PixelWindow) -> str:
        def restore() -> None:
            raster = renderer.metatile(target.view, metatile, Stages()).crop(metatile)
            blocks.put(raster)

        try:
            with_retries(restore, stop)
        except FAILURES as error:
            return str(error)
        return ""

    tally = Tally(target.metatile_count, METATILE_PX**2)
    failed: dict[PixelWindow, str] = {}
    with ThreadPoolExecutor(jobs, "orthosharp-restore") as pool:
        try:
            for metatile, future in _ahead(pool, work, target, blocks, jobs):
                if future is None:
                    tally.units_before += 1
                    continue
                if failure := future.result():
                    failed[metatile] = failure
                    tally.failures += 1
                else:
                    tally.units_made += 1
                report(tally.figures())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return tally, failed


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[PixelWindow], str],
    target: Target,
    blocks: MetatileFolder,
    jobs: int,
) -> Iterator[tuple[PixelWindow, Future[str] | None]]:
    """All metatiles in order; None stands for one that was restored before."""
    waiting: deque[tuple[PixelWindow, Future[str]]] = deque()
    for metatile in target.metatiles():
        if blocks.has(metatile):
            yield metatile, None
            continue
        waiting.append((metatile, pool.submit(work, metatile)))
        if len(waiting) >= 2 * jobs:
            yield waiting.popleft()
    yield from waiting
