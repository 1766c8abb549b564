"""Two photographs of the same ground to registered, unchanged, split chips with a manifest and a report."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from sr_model.atomic import write_atomic
from sr_model.machine import usable_cores
from training.data.manifest import Bounds, Chip, write_manifest
from training.errors import PairError
from training.locks import only_process_in
from training.measure.register import (
    LocalShift,
    agreed_shifts,
    fit_field,
)
from training.pairs.diagnosis import diagnose
from training.pairs.grid import Common, Grid, common_ground
from training.pairs.photo import Photo, digest
from training.pairs.reading import NOTHING_SAID, Reading
from training.pairs.report import REPORT, pairs_report
from training.pairs.resumable import claim, resumable_map
from training.pairs.selection import (
    FLAT,
    NODATA,
    Key,
    drop_changed,
    plan_chips,
    read_areas,
    why_dropped,
)
from training.pairs.site_chips import EMPTY, FILLED, FINE_REACH_PX, SiteChips, chip_name
from training.pairs.traits import measure_traits
from training.progress import Report, no_report

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

WORK: Final = "work"
# Of the files in WORK; raise it when their meaning changes.
_VERSION: Final = 4
# Standard deviation, in chips, of the weights of the windows around.
_NEIGHBOURHOOD: Final = 0.5


@dataclass(frozen=True)
class PairOptions:
    """Options of the making of pairs.

    Attributes:
        gsd_m: target ground sample distance in metres, by default the new photo's.
        size_px: side of a chip.
        step_px: from one chip to the next, by default `size_px`; chips of a smaller one overlap.
        areas: GeoJSON polygons; only chips wholly inside are made.
        max_shift_m: longest local shift that is looked for.
        validation: bounds in the new photo's CRS of the block kept for validation; by default the southern fifth.
        min_confidence: training chips whose shift is less certain go, see `training.measure.register`.
        drop_changed: share of the other training chips, the most changed, that goes.
        old, new: how the photographs' files are read, where they do not say it themselves.
        jobs: threads, by default one per processor.
    """

    gsd_m: float | None = None
    size_px: int = 500
    step_px: int | None = None
    areas: Path | None = None
    max_shift_m: float = 15.0
    validation: Bounds | None = None
    # Where the coarse shift is wrong, one surface in twenty has a peak of 5.3 by chance.
    min_confidence: float = 6.0
    drop_changed: float = 0.15
    old: Reading = NOTHING_SAID
    new: Reading = NOTHING_SAID
    jobs: int | None = None


def _say_nothing(_line: str) -> None:
    """The default of `make_pairs`."""


def make_pairs(
    old_path: Path,
    new_path: Path,
    out: Path,
    progress: Report = no_report,
    say: Callable[[str], None] = _say_nothing,
    **choices: Any,
) -> list[Chip]:
    """Cut registered chips of both photographs; called again after a stop, it goes on.

    Args:
        old_path, new_path: the photographs, each with a CRS.
        out: a folder for `old/NAME.png`, `new/NAME.png`, the manifest and the report; made if missing.
        progress: called with stage, chips done and chips in all.
        say: called with a line for each range of values that was found.
        choices: fields of `PairOptions`.

    Returns:
        The chips of the manifest, dropped ones with the reason.

    Raises:
        PairError: the photographs make no pairs, or the folder holds other pairs.
    """
    options = PairOptions(**choices)
    common = common_ground(
        old_path, new_path, options.gsd_m, options.size_px, options.step_px, (options.old, options.new)
    )
    grid = common.grid
    _tell_ranges(common, old_path, new_path, say)
    if options.max_shift_m > grid.size_px * grid.gsd_m / 2:
        raise PairError(
            f"--max-shift {options.max_shift_m:g} is more than half a chip: use a larger --size or a smaller shift"
        )
    areas = read_areas(options.areas, grid.crs) if options.areas else None
    splits = plan_chips(grid, areas, options.validation)
    digests = {"old": digest(old_path), "new": digest(new_path)}
    if digests["old"] == digests["new"]:
        raise PairError(
            f"{old_path.name} and {new_path.name} are the same photograph: name an old and a newer one"
        )
    work = out / WORK
    claim(work, _plan(common, list(splits), options, digests))
    for folder in (out / "old", out / "new"):
        folder.mkdir(exist_ok=True)
    with only_process_in(work):
        measured = _measure(common, splits, (old_path, new_path), out, options, digests, progress)
        chips, limit = drop_changed(measured, options.drop_changed)
        hints = diagnose(out, chips, common, options.max_shift_m)
        # Relative weights count from what the old photo resolves, as the server does.
        resolved_gsd_m = grid.old_gsd_m * measure_traits(old_path, common.old).resolved_px
        facts = _facts(common, old_path, new_path, digests, options, limit) | {
            "resolved_gsd_m": resolved_gsd_m,
            "hints": hints,
        }
        write_manifest(out, chips, facts)
        write_atomic(out / REPORT, pairs_report(out, chips, facts).encode())
    if not any(chip.split == "train" for chip in chips):
        raise PairError(f"no chip is left for training; {out / REPORT} shows why. {'; '.join(hints)}")
    return chips


def _tell_ranges(common: Common, old: Path, new: Path, say: Callable[[str], None]) -> None:
    """A range that was found is told, so that the server can be given the same."""
    for path, read, option in ((old, common.old, "--rescale"), (new, common.new, "--new-rescale")):
        if read.found:
            black, white = (f"{value:g}" for value in read.rescale)
            fixed = f"{option} {black},{white} fixes them"
            say(f"{path.name}: its values from {black} to {white} are shown; {fixed}")


def _measure(
    common: Common,
    splits: dict[Key, str],
    paths: tuple[Path, Path],
    out: Path,
    options: PairOptions,
    digests: dict[str, str],
    progress: Report,
) -> list[Chip]:
    """Register, cut and measure every chip, or go on with it."""
    grid, work = common.grid, out / WORK
    jobs = options.jobs or usable_cores()
    reach_px = math.ceil(options.max_shift_m / max(2 * grid.gsd_m, grid.old_gsd_m)) + 1
    with Photo(paths[0], grid.crs, common.old) as old, Photo(paths[1], grid.crs, common.new) as new:
        site = SiteChips(grid, list(splits), old, new, out)
        field = _field(site, work, reach_px, jobs, progress)
        cuts = resumable_map(
            work / "cut.npy",
            len(splits),
            (5,),
            lambda i: site.cut(i, field[i]),
            jobs,
            partial(progress, "cut"),
        )
    return [
        _chip(grid, key, split, shift, cut.tolist(), digests, options.min_confidence)
        for (key, split), shift, cut in zip(splits.items(), field, cuts, strict=True)
    ]


def _field(site: SiteChips, work: Path, reach_px: int, jobs: int, progress: Report) -> list[LocalShift]:
    """The shift of every chip, from windows that get smaller and finer, each read where those before say."""
    count, side = len(site.keys), 2 * reach_px + 1
    surfaces = resumable_map(
        work / "coarse.npy",
        count,
        (side, side),
        lambda i: site.coarse_surface(i, reach_px),
        jobs,
        partial(progress, "register"),
    )
    agreed = agreed_shifts(surfaces, site.centres / site.grid.size_px)
    nearest = np.asarray(KDTree(site.centres).query(site.places)[1])
    field = [
        LocalShift(agreed[i].dx_px * site.coarsen, agreed[i].dy_px * site.coarsen) for i in nearest.tolist()
    ]
    scale_px = _NEIGHBOURHOOD * site.grid.size_px
    for stage, coarsen, at in (
        ("refine", site.coarsen, site.places),
        ("refine more", 1.0, site.centres),
    ):
        fine = resumable_map(
            work / f"{stage.replace(' ', '_')}.npy",
            len(site.places),
            (2 * FINE_REACH_PX + 1,) * 2,
            partial(_surface, site, field, coarsen),
            jobs,
            partial(progress, stage),
        )
        read_at = np.array([(shift.dx_px, shift.dy_px) for shift in field]) / coarsen
        field = [
            replace(shift, dx_px=shift.dx_px * coarsen, dy_px=shift.dy_px * coarsen)
            for shift in fit_field(fine, site.places / coarsen, read_at, at / coarsen, scale_px / coarsen)
        ]
    # Every stage looks where the one before says: the chain is as sure as its weakest link.
    return [
        replace(shift, confidence=min(shift.confidence, coarse.confidence))
        for shift, coarse in zip(field, agreed, strict=True)
    ]


def _surface(site: SiteChips, field: list[LocalShift], coarsen: float, index: int) -> Float32Array:
    return site.surface(index, field[index], coarsen)


def _chip(
    grid: Grid,
    key: Key,
    split: str,
    shift: LocalShift,
    cut: list[float],
    digests: dict[str, str],
    min_confidence: float,
) -> Chip:
    usable, change, dx_px, dy_px, confidence = cut
    left = LocalShift(dx_px, dy_px, confidence)
    reason = {EMPTY: NODATA, FILLED: FLAT}.get(usable, "")
    if not reason and split == "train":
        reason = why_dropped(shift, grid.size_px, left, min_confidence)
    return Chip(
        name=chip_name(key),
        column=key[0],
        row=key[1],
        bounds=grid.bounds(*key),
        split="dropped" if reason else split,
        dx_px=shift.dx_px,
        dy_px=shift.dy_px,
        confidence=shift.confidence,
        change=change,
        reason=reason,
        warp=shift.warp,
        residual_px=math.hypot(left.dx_px, left.dy_px),
        old_sha256=digests["old"],
        new_sha256=digests["new"],
    )


def _plan(common: Common, keys: list[Key], options: PairOptions, digests: dict[str, str]) -> dict[str, Any]:
    """Return everything that the files in WORK depend on."""
    grid = common.grid
    return {
        "version": _VERSION,
        "photographs": digests,
        "grid": {name: value for name, value in asdict(grid).items() if name != "crs"}
        | {"crs": grid.crs.to_wkt()},
        "reading": {"old": common.old.as_json(), "new": common.new.as_json()},
        "max_shift_m": options.max_shift_m,
        "chips": _keys_digest(keys),
    }


def _keys_digest(keys: list[Key]) -> str:
    """A short name for a choice of chips."""
    return f"{len(keys)} {hashlib.sha256(repr(keys).encode()).hexdigest()[:16]}"


def _facts(
    common: Common, old: Path, new: Path, digests: dict[str, str], options: PairOptions, limit: float
) -> dict[str, Any]:
    grid = common.grid
    return {
        "crs": grid.crs.to_wkt(),
        "gsd_m": grid.gsd_m,
        "size_px": grid.size_px,
        "step_px": grid.step_px,
        "old": old.name,
        "new": new.name,
        "old_gsd_m": grid.old_gsd_m,
        "old_sha256": digests["old"],
        "new_sha256": digests["new"],
        "reading": {"old": common.old.as_json(), "new": common.new.as_json()},
        "max_shift_m": options.max_shift_m,
        "min_confidence": options.min_confidence,
        "drop_changed": options.drop_changed,
        "change_limit": limit,
    }
