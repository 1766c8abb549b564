"""Restore the metatiles of a target, several at a time, into blocks on disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from sr_model import PixelWindow
from tileserver.jobs.progress import Figures
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
) -> tuple[Figures, dict[PixelWindow, str]]:
    """Restore what is not restored yet.

    Args:
        target: what to restore.
        blocks: where metatiles go.
        renderer: restores them.
        jobs: metatiles that are worked on at the same time.
        report: called after each metatile.

    Returns:
        How far it is, and the metatiles that failed, and why.

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

    started = time.monotonic()
    figures = Figures(0, target.metatile_count)
    failed: dict[PixelWindow, str] = {}
    with ThreadPoolExecutor(jobs, "orthosharp-restore") as pool:
        try:
            for metatile, future in _ahead(pool, work, target, blocks, jobs):
                failure = future.result() if future else ""
                if failure:
                    failed[metatile] = failure
                made = figures.units_made + (future is not None and not failure)
                figures = replace(
                    figures,
                    units=figures.units + (not failure),
                    units_made=made,
                    failures=len(failed),
                    megapixels=made * METATILE_PX**2 / 1e6,
                    seconds=time.monotonic() - started,
                )
                if future is not None:
                    report(figures)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return figures, failed


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
