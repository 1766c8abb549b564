"""Work that goes on where it stopped: one row of a file per item, filled in parallel."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from sr_model.atomic import write_atomic
from training.errors import PairError
from training.locks import is_unused

Float32Array = npt.NDArray[np.float32]

PLAN: Final = "plan.json"


def resumable_map(
    path: Path,
    count: int,
    shape: tuple[int, ...],
    work: Callable[[int], Float32Array],
    jobs: int,
    progress: Callable[[int, int], None],
) -> Float32Array:
    """Fill a file with `work(0)` to `work(count - 1)`, leaving out what an earlier call did.

    A row that holds NaN is not done: a process that is killed leaves whole rows and NaN, never a wrong row. Threads
    suffice, for GDAL, the transforms and the PNG coder all let go of Python's lock.

    Args:
        path: of the file, an `.npy`; made if missing.
        count: items.
        shape: of each row, float32.
        work: gives a finite row; called from several threads.
        jobs: how many.
        progress: called with rows done and rows in all.

    Returns:
        float32 [count, *shape], backed by the file.
    """
    if not path.exists():
        # A view of one number: written in pieces, it never takes the memory that its shape would.
        empty = np.broadcast_to(np.float32(np.nan), (count, *shape))
        write_atomic(path, lambda file: np.save(file, empty))
    rows: Float32Array = open_memmap(path, mode="r+")
    todo = np.flatnonzero(np.isnan(rows.reshape(count, -1)).any(axis=1)).tolist()

    def fill(index: int) -> None:
        rows[index] = work(index)

    progress(count - len(todo), count)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(fill, index) for index in todo]
        try:
            for done, future in enumerate(as_completed(futures), count - len(todo) + 1):
                future.result()
                progress(done, count)
        except BaseException:
            # Ctrl+C too: work that has not begun is left for the next call of the same command.
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def claim(work: Path, plan: dict[str, Any]) -> None:
    """Make the folder of an unfinished run, or go on with one of the very same plan.

    Raises:
        PairError: it holds work of another plan.
    """
    path = work / PLAN
    text = json.dumps(plan, indent=2, sort_keys=True) + "\n"
    if path.exists():
        if path.read_text() != text:
            old = json.loads(path.read_text())
            changed = sorted(key for key in plan | old if plan.get(key) != old.get(key))
            raise PairError(
                f"{work.parent.name} holds pairs of other {', '.join(changed)}: choose another folder or remove it"
            )
        return
    if not is_unused(work.parent, work.name):
        raise PairError(
            f"{work.parent.name} is not empty, and its pairs are not these: choose another folder"
        )
    work.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
