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
from PIL import Image
from scipy.spatial import KDTree

from sr_model.atomic import write_atomic
from sr_model.machine import usable_cores
from training.data.manifest import Bounds, Chip, write_manifest
from training.errors import PairError
from training.locks import only_process_in
from training.measure.flat_fill import WIDE_PX, black_share, filled_share
from training.measure.register import (
    EDGE_SIGMA_PX,
    LocalShift,
    agreed_shifts,
    correlation_surface,
    fit_field,
    read_shift,
    window_places,
)
from training.pairs.change import BLUR_PX, change_score
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
from training.progress import Report, no_report

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

WORK: Final = "work"
# Of the files in WORK; raise it when their meaning changes.
_VERSION: Final = 3
# Black wedges and collars of one colour have no nodata tag; a chip with more of them than this is dropped.
_MAX_BLACK: Final = 0.005
_MAX_FLAT: Final = 0.02
# What `_Site.cut` says of a chip that shows nothing, ground, or a fill.
_EMPTY, _USABLE, _FILLED = 0.0, 1.0, 2.0
# How far the fine shift may lie from the coarse one, and the finished chip's from none.
_FINE_REACH_PX: Final = 8
# Windows lie this share of a chip away from its centre, four to a chip; neighbours that overlap share them.
_WINDOW_OFFSET: Final = 0.25
# Standard deviation, in chips, of the weights of the windows around.
_NEIGHBOURHOOD: Final = 0.5
# A window that shows less ground says nothing.
_LEAST_VALID: Final = 0.5


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


class _Site:
    """Both photographs on one grid, with the measurements and the pictures of each chip."""

    def __init__(self, grid: Grid, keys: list[Key], old: Photo, new: Photo, out: Path) -> None:
        self.grid, self.keys, self.old, self.new, self.out = grid, keys, old, new, out
        self.centres: Float64Array = np.array([grid.centre_px(*key) for key in keys])
        self.places = window_places(self.centres, _WINDOW_OFFSET * grid.size_px)
        self.ratio = grid.old_gsd_m / grid.gsd_m
        # Coarse pixels are the old photo's, or twice the grid's.
        self.coarsen = max(2.0, self.ratio)
        # Both blurs fit old pixels of up to two of the grid's.
        self.softness = max(1.0, self.ratio / 2)
        self.sigma_px = self.softness * EDGE_SIGMA_PX
        self.fills = old.fills(WIDE_PX / self.ratio), new.fills(WIDE_PX)

    def coarse_surface(self, index: int, reach_px: int) -> Float32Array:
        """Correlation surface, in coarse pixels, of a window twice as wide as the chip."""
        side = max(2 * math.ceil(self.grid.size_px / self.coarsen), 2 * reach_px + 2)
        window = self.grid.window(tuple(self.centres[index]), side, coarsen=self.coarsen)
        return correlation_surface(self.old.read(window, side)[0], self.new.read(window, side)[0], reach_px)

    def surface(self, index: int, shift: LocalShift, coarsen: float) -> Float32Array:
        """Correlation surface of a window as wide as a chip, the old photo read where the shift says."""
        # Where the old photo is very coarse, a chip has fewer pixels than shifts are looked for.
        side = max(math.ceil(self.grid.size_px / coarsen), 2 * _FINE_REACH_PX + 2)
        place = tuple(self.places[index])
        old, old_valid = self.old.read(self.grid.window(place, side, shift, coarsen), side)
        new, new_valid = self.new.read(self.grid.window(place, side, coarsen=coarsen), side)
        valid = old_valid & new_valid
        if valid.mean() < _LEAST_VALID:
            return np.zeros((2 * _FINE_REACH_PX + 1,) * 2, np.float32)
        sigma_px = EDGE_SIGMA_PX if coarsen > 1 else self.sigma_px
        return correlation_surface(old, new, _FINE_REACH_PX, sigma_px, valid)

    def cut(self, index: int, shift: LocalShift) -> Float32Array:
        """Write a chip's two pictures; returns what it shows, change and what shift is left, float32 [5]."""
        centre, size = tuple(self.centres[index]), self.grid.size_px
        # The shift moves and shears the reading window, so that the old photo is resampled once and not twice.
        old, valid = self.old.read(self.grid.window(centre, size, shift), size)
        new, new_valid = self.new.read(self.grid.window(centre, size), size)
        black = max(black_share(old), black_share(new))
        if not (valid.all() and new_valid.all() and black <= _MAX_BLACK):
            return np.array([_EMPTY, 0, 0, 0, 0], np.float32)
        filled = max(filled_share(old, self.fills[0]), filled_share(new, self.fills[1]))
        if filled > _MAX_FLAT:
            return np.array([_FILLED, 0, 0, 0, 0], np.float32)
        for folder, rgb in (("old", old), ("new", new)):
            picture = Image.fromarray(rgb)
            write_atomic(
                self.out / folder / f"{chip_name(self.keys[index])}.png",
                partial(picture.save, format="png", compress_level=1),
            )
        left = read_shift(correlation_surface(old, new, _FINE_REACH_PX, self.sigma_px))
        change = change_score(old, new, self.softness * BLUR_PX)
        return np.array([_USABLE, change, left.dx_px, left.dy_px, left.confidence], np.float32)


def chip_name(key: Key) -> str:
    """`0003_0012` for column 3, row 12."""
    return f"{key[0]:04d}_{key[1]:04d}"


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
        facts = _facts(common, old_path, new_path, digests, options, limit) | {"hints": hints}
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
        site = _Site(grid, list(splits), old, new, out)
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


def _field(site: _Site, work: Path, reach_px: int, jobs: int, progress: Report) -> list[LocalShift]:
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
            (2 * _FINE_REACH_PX + 1,) * 2,
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


def _surface(site: _Site, field: list[LocalShift], coarsen: float, index: int) -> Float32Array:
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
    reason = {_EMPTY: NODATA, _FILLED: FLAT}.get(usable, "")
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
