"""Blind sheets of kept ground: the site's network, the bundled one, bicubic and the new photo, under letters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.restorer import Restorer
from training.compare.ground import kind_of
from training.compare.sheets import PAGE, key_path, write_sheets
from training.compare.windows import WINDOW_PX, ComparedWindow
from training.data.manifest import Chip
from training.evaluate.methods import BICUBIC, NEW, OURS
from training.evaluate.score import real_ground, validation
from training.site.verdict import BUNDLED

UInt8Array = npt.NDArray[np.uint8]

SHEETS: Final = "sheets"
OWN: Final = "site's network"
_SHOWN: Final = {OURS: OWN, BUNDLED: BUNDLED, BICUBIC: BICUBIC, NEW: NEW}


def draw_sheets(
    run: Path,
    restorer: Restorer,
    bundled: Restorer,
    pairs: Path,
    files: Mapping[str, Path],
    count: int,
    seed: int,
) -> dict[str, str]:
    """Draw some of the kept chips by each candidate; a folder that a stop left unfinished is drawn again.

    Args:
        run: folder of the run, in which the sheets and their key are written.
        restorer, bundled: the networks.
        pairs: folder of the pairs.
        files: of the candidates, for the key.
        count: sheets at most.
        seed: of the letters' order.

    Returns:
        Names of the page and of the key.
    """
    out = run / SHEETS
    shutil.rmtree(out, ignore_errors=True)
    key_path(out).unlink(missing_ok=True)
    site, chips = validation(pairs)
    names = _apart(chips, count)
    ground = real_ground(restorer, pairs, only=names, beside={BUNDLED: bundled})
    windows = []
    for index, chip in enumerate(ground.chips):
        pictures = {name: _middle(ground.pictures[method][index]) for method, name in _SHOWN.items()}
        place = chip.column * site["step_px"], chip.row * site["step_px"]
        windows.append(ComparedWindow(*place, kind_of(pictures[NEW]), pictures))
    key = write_sheets(out, windows, files, seed)
    return {"page": f"{SHEETS}/{PAGE}", "key": key.name}


def _apart(chips: list[Chip], count: int) -> set[str]:
    """Names of chips that do not overlap, as far as there are so many, evenly spread."""
    chosen: list[Chip] = []
    for chip in chips:
        side = chip.bounds[2] - chip.bounds[0]
        if all(
            abs(chip.bounds[0] - other.bounds[0]) >= 0.99 * side
            or abs(chip.bounds[1] - other.bounds[1]) >= 0.99 * side
            for other in chosen
        ):
            chosen.append(chip)
    spread = np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)
    return {chosen[i].name for i in spread}


def _middle(picture: UInt8Array) -> UInt8Array:
    top, left = (max((side - WINDOW_PX) // 2, 0) for side in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + WINDOW_PX, left : left + WINDOW_PX])
