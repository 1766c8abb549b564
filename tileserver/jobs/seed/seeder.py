"""Walk a plan, have its units restored, build the tiles above them, and write all tiles."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tileserver.errors import OutputError
from tileserver.jobs.pool import Pending, Pool
from tileserver.jobs.progress import JobProgress, Tally
from tileserver.jobs.retry import FAILURES, reason_of, with_retries
from tileserver.jobs.seed.journal import Journal
from tileserver.jobs.seed.output import Output
from tileserver.jobs.seed.plan import SeedPlan, children
from tileserver.jobs.seed.units import Unit, UnitMaker
from tileserver.tiling.grid import METATILE_PX, TileAddress
from tileserver.tiling.raster import Raster, area_average, canvas, paste

# A kill loses this much work at most.
COMMIT_S: Final = 1.0


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        tally: counts of the run.
        finished: whether everything was made, except for failures.
    """

    tally: Tally
    finished: bool


class Seeder:
    """Makes the tiles of a plan.

    Args:
        plan: which tiles to make.
        units: restores units, and makes the tiles above them where these cannot be averaged.
        output: where to write the tiles.
        journal: progress of the run.
        pool: works on the units; closed by `run`.
    """

    def __init__(
        self,
        plan: SeedPlan,
        units: UnitMaker,
        output: Output,
        journal: Journal,
        pool: Pool[TileAddress, Unit],
    ) -> None:
        self._plan = plan
        self._units = units
        self._output = output
        self._journal = journal
        self._pool = pool
        self._stop = threading.Event()
        unit_px = plan.metatiles_per_unit * METATILE_PX**2
        self._tally = Tally(plan.unit_count, unit_px, units_before=journal.count(plan.unit_zoom))

    def run(self, report: Callable[[JobProgress], None], time_limit_s: float | None = None) -> Outcome:
        """Make the tiles that are not made yet; finished tiles are kept if this is interrupted.

        Args:
            report: called about once per second.
            time_limit_s: stop after this time, in seconds.

        Raises:
            OutputError: the output cannot be written.
            SourceChangedError: the photograph was replaced during the run.
        """
        committed = 0.0
        finished = True
        try:
            for node, unit in self._ahead():
                self._take(node, unit)
                seconds = self._tally.seconds
                if seconds - committed > COMMIT_S:
                    self._journal.commit()
                    report(self._progress())
                    committed = seconds
                if time_limit_s is not None and seconds > time_limit_s:
                    finished = False
                    break
            self._journal.commit()
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"{self._output.name} cannot be written ({error}): make room, then run the same command again"
            ) from error
        finally:
            self._stop.set()
            self._pool.close()
        report(self._progress())
        return Outcome(self._tally, finished)

    def _progress(self) -> JobProgress:
        self._tally.failures = self._journal.failure_count
        return self._tally.progress()

    def _ahead(self) -> Iterator[tuple[TileAddress, Pending[Unit] | None]]:
        """Yield the remaining nodes of the plan in order; units are started ahead of their turn."""
        waiting: deque[tuple[TileAddress, Pending[Unit] | None]] = deque()
        running = 0
        for node in self._plan.walk():
            is_unit = node.z == self._plan.unit_zoom
            done = self._journal.done(node)
            # A tile that was rendered from overviews is visited again: failures below it may be restored by now.
            if done or (is_unit and done is not None):
                continue
            waiting.append((node, self._pool.submit(node) if is_unit else None))
            running += is_unit
            while running >= self._pool.ahead:
                running -= waiting[0][1] is not None
                yield waiting.popleft()
        yield from waiting

    def _take(self, node: TileAddress, unit: Pending[Unit] | None) -> None:
        if unit is None:
            self._above(node)
            return
        result = unit.result()
        if result.failure:
            self._journal.fail(node, result.failure)
            return
        self._write(result.tiles, result.nbytes)
        if result.quarter is not None:
            self._journal.put_pending(node, result.quarter)
        self._journal.mark(node, whole=True)
        self._tally.units_made += 1

    def _write(self, tiles: list[tuple[TileAddress, bytes]], nbytes: int) -> None:
        self._output.record(self._journal, tiles)
        self._tally.tiles += len(tiles)
        self._tally.nbytes += nbytes

    def _above(self, node: TileAddress) -> None:
        """Make a tile above units: the average of the four below if all are restored, else the server's tile."""
        raster = self._average(node)
        if raster is None and self._journal.done(node) is not None:
            return

        def make() -> list[tuple[TileAddress, bytes]]:
            made = self._units.tile(node, raster if raster is not None else self._units.image(node))
            self._output.deliver([made] if made else [])
            return [made] if made else []

        try:
            made = with_retries(make, self._stop)
        except FAILURES as error:
            self._journal.fail(node, reason_of(error))
            return
        self._write(made, sum(len(body) for _, body in made))
        self._journal.mark(node, whole=raster is not None)
        if raster is not None:
            for child in children(node):
                self._journal.drop_pending(child)
            if node.z > self._plan.min_zoom:
                self._journal.put_pending(node, area_average(raster, 2))

    def _average(self, node: TileAddress) -> Raster | None:
        """Assemble a node's image from the four below it; None unless all ground below it is restored."""
        image = canvas(node.window)
        for child in children(node):
            if self._plan.shows_photograph(child):
                quarter = self._journal.pending(child)
                if quarter is None:
                    return None
                paste(image, quarter)
        return image
