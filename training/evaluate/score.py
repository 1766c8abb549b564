"""Weights against baselines on validation chips: every metric of every method, with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from sr_model.machine import usable_cores
from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer
from sr_model.spec import ModelSpec
from training.data.ageing import aged
from training.data.dataset import Pair, load_pairs
from training.data.manifest import Chip, check_scale, ratio_of, read_manifest, read_site
from training.errors import DatasetError
from training.evaluate.baselines import baseline_names, check_baselines, read_baseline
from training.evaluate.judge import ChosenJudge
from training.evaluate.judged import judged_estimates
from training.evaluate.methods import (
    BICUBIC,
    NEW,
    OURS,
    inner_px,
    make_pictures,
    restore_at_phases,
    restore_chip,
    shown_at_all_phases,
)
from training.evaluate.options import EvaluateOptions
from training.measure.bootstrap import CONFIDENCE, Bootstrap, Estimate, blocks_of
from training.measure.fidelity import Float32Array, compare, place, shift_between
from training.measure.judges import JudgedWindow, judge_window
from training.measure.metrics import (
    SPECTRUM_PX,
    FloatArray,
    IntArray,
    consistency,
    drawn_powers,
    pattern_powers,
    structure_kept,
)
from training.measure.seams import seam_sums
from training.progress import Report, no_report

UInt8Array = npt.NDArray[np.uint8]
Result = TypeVar("Result")
Networks = Mapping[str, Restorer]

# Least side of the part of a chip that is compared: the shift between two pictures is not found on less.
_LEAST_PX: Final = 32
# Chips of a site on which a pattern and seams of the network's own are looked for: each is restored many times.
_SAMPLE: Final = 16
REAL: Final = "new photo"
AGED: Final = "aged"


@dataclass(frozen=True)
class Score:
    """The scores of one method on one site. A method is one way to make a picture of the new photo's pixels.

    Attributes:
        site: the folder of pairs.
        truth: `new photo` for real pairs; `aged` for the new photo's chips, aged and compared with themselves.
        method: bicubic, unsharp mask, the baseline's name, orthosharp, or the new photo itself.
        chips, blocks: how many were scored, and of how many blocks of ground.
        estimates: by metric, see docs/evaluation.md; metrics that make no sense for a method are missing.
        worst_chip: the chip with the most hallucination.
    """

    site: str
    truth: str
    method: str
    chips: int
    blocks: int
    estimates: Mapping[str, Estimate]
    worst_chip: str = ""


@dataclass(frozen=True)
class Ground:
    """The chips of one site that are scored, and the pictures that every method makes of them.

    Attributes:
        ratio: the old photo's pixel size over that of the chips.
        exact: whether old and new lie exactly on each other.
    """

    site: str
    truth: str
    chips: list[Chip]
    pairs: list[Pair]
    pictures: dict[str, list[UInt8Array]]
    ratio: float
    exact: bool

    @property
    def photo(self) -> PhotoContext:
        """The properties of the old photograph that the network is given."""
        return PhotoContext(self.ratio)

    @property
    def blocks(self) -> IntArray:
        """The block of ground that each chip lies in, int [N]; see `training.measure.bootstrap.blocks_of`."""
        return blocks_of([chip.bounds for chip in self.chips])


def evaluate_site(
    restorer: Restorer,
    folder: Path,
    options: EvaluateOptions | None = None,
    judge: ChosenJudge | None = None,
    progress: Report = no_report,
) -> list[Score]:
    """Score every method on a site's validation chips.

    Args:
        restorer: the network.
        folder: the pairs.
        options: by default no baselines and no aged pairs.
        judge: of the feature distance on aged pairs; without one it is left out.
        progress: is told how many pictures were scored.

    Raises:
        DatasetError: the folder has no validation chips.
        BaselineError: a baseline lacks part of them.
    """
    options = options or EvaluateOptions(aged=False)
    scores = []
    for ground in grounds_of(restorer, folder, options):
        scores += score_ground(restorer, ground, judge or ChosenJudge(), options, progress)
    return scores


def grounds_of(
    restorer: Restorer, folder: Path, options: EvaluateOptions, beside: Networks | None = None
) -> list[Ground]:
    """The validation chips of a folder, and unless that is not wanted the aged ones; raises as `evaluate_site`.

    Args:
        restorer: the network.
        folder: the pairs.
        options: see there.
        beside: other networks whose pictures are shown and scored too, by name.
    """
    names = [chip.name for chip in validation(folder)[1]]
    most = min(options.most_chips or len(names), len(names))
    spread = np.linspace(0, len(names) - 1, most).round().astype(int)
    only = None if most == len(names) else {names[i] for i in spread}
    grounds = [real_ground(restorer, folder, options.baselines, only, beside)]
    if options.aged:
        grounds.append(aged_ground(restorer, grounds[0], options, beside))
    return grounds


def validation(folder: Path) -> tuple[dict[str, Any], list[Chip]]:
    """Read the site of a folder and its validation chips.

    Raises:
        DatasetError: it has none.
    """
    chips = [chip for chip in read_manifest(folder) if chip.split == "validation"]
    if not chips:
        raise DatasetError(
            f"{folder.name} has no validation chips: make the pairs with a larger --validation block"
        )
    return read_site(folder), chips


def check_options(folders: Sequence[Path], options: EvaluateOptions, spec: ModelSpec) -> None:
    """Refuse folders and baselines that cannot be scored, before any work.

    Raises:
        DatasetError: a folder has no validation chips, too small or too few ones, pixels of other sizes or ratios
            than the network's, or the name of another.
        PairError, BaselineError: a baseline is not a georeferenced picture of this ground.
    """
    sites = [validation(folder) for folder in folders]
    for folder, (site, chips) in zip(folders, sites, strict=True):
        check_scale(folder, site, spec)
        _check_sizes(folder, [site["size_px"]] * len(chips), spec.stride)
    for name, count in Counter(folder.name for folder in folders).items():
        if count > 1:
            raise DatasetError(f"{count} of the folders are called {name!r}, as tables will: rename one")
    baseline_names(options.baselines)
    check_baselines(options.baselines, sites)


def _check_sizes(folder: Path, sides_px: Sequence[int], stride: int) -> None:
    if inner_px(min(sides_px), stride) < _LEAST_PX:
        raise DatasetError(
            f"the chips of {folder.name} are too small to be scored: make the pairs with --size 96 or more"
        )


def real_ground(
    restorer: Restorer,
    folder: Path,
    baselines: Sequence[Path] = (),
    only: Collection[str] | None = None,
    beside: Networks | None = None,
) -> Ground:
    """The validation chips of a folder, or some of them by name; raises as `evaluate_site`."""
    site, chips = validation(folder)
    pairs = load_pairs([folder], "validation")
    if only is None:
        _check_sizes(folder, [min(pair.new.shape[:2]) for pair in pairs], restorer.spec.stride)
    else:
        kept = [index for index, chip in enumerate(chips) if chip.name in only]
        chips, pairs = [chips[i] for i in kept], [pairs[i] for i in kept]
    shown = {
        name: baseline
        for name, path in baseline_names(baselines).items()
        if (baseline := read_baseline(path, site, chips, pairs)) is not None
    }
    ratio = ratio_of(site)
    photo = PhotoContext(ratio)
    pictures = make_pictures(restorer, pairs, photo, shown | _made_beside(beside, pairs, photo))
    return Ground(folder.name, REAL, chips, pairs, pictures, ratio, exact=False)


def _made_beside(
    beside: Networks | None, pairs: Sequence[Pair], photo: PhotoContext
) -> dict[str, list[UInt8Array]]:
    return {
        name: [restore_chip(network, pair.old, photo) for pair in pairs]
        for name, network in (beside or {}).items()
    }


def aged_ground(
    restorer: Restorer, ground: Ground, options: EvaluateOptions, beside: Networks | None = None
) -> Ground:
    """The same chips with a known truth: the new photo's, aged, have to become themselves again."""

    def made_old(chip: Chip, pair: Pair) -> Pair:
        rng = np.random.default_rng((options.seed, chip.column, chip.row))
        return replace(pair, old=aged(pair.new, rng, options.ageing))

    pairs = _each(made_old, ground.chips, ground.pairs)
    pictures = make_pictures(restorer, pairs, ground.photo, _made_beside(beside, pairs, ground.photo))
    return replace(ground, truth=AGED, pairs=pairs, pictures=pictures, exact=True)


def score_ground(
    restorer: Restorer, ground: Ground, judge: ChosenJudge, options: EvaluateOptions, progress: Report
) -> list[Score]:
    """Score the pictures of every method on one ground."""
    bootstrap = Bootstrap(ground.blocks, draws=options.draws, seed=options.seed)
    olds = _each(partial(place, exact=ground.exact), ground.pictures[BICUBIC], ground.pictures[NEW])
    bicubic = _judged(ground, BICUBIC, judge)
    stage, scores = f"{ground.site}, {ground.truth}", []
    progress(stage, 0, len(ground.pictures))
    for method, pictures in ground.pictures.items():
        mine = bicubic if method == BICUBIC else _judged(ground, method, judge)
        estimates = judged_estimates(bootstrap, mine, bicubic)
        if _has_spectrum(pictures):
            estimates["pattern"] = bootstrap.pattern(np.stack(_each(pattern_powers, pictures)))
        estimates |= _against_old(bootstrap, pictures, ground)
        worst = ""
        if method != NEW:
            compared, worst = _against_new(bootstrap, pictures, olds, ground)
            estimates |= compared
        if method == OURS and ground.truth == REAL:
            estimates |= _of_the_network(restorer, ground, options)
        scores.append(
            Score(ground.site, ground.truth, method, len(ground.chips), bootstrap.blocks, estimates, worst)
        )
        progress(stage, len(scores), len(ground.pictures))
    return scores


def _judged(ground: Ground, method: str, judge: ChosenJudge) -> list[dict[str, FloatArray]]:
    """Judge every chip of one method."""
    features = judge.features if ground.exact and method != NEW else None

    def judged(picture: UInt8Array, old: UInt8Array, new: UInt8Array) -> dict[str, FloatArray]:
        return judge_window(JudgedWindow(picture, old, new, old), is_truth=ground.exact, features=features)

    return _each(judged, ground.pictures[method], ground.pictures[BICUBIC], ground.pictures[NEW])


def _has_spectrum(pictures: Sequence[UInt8Array]) -> bool:
    """Whether every picture is large enough for the spectrum in which patterns are looked for."""
    return all(min(picture.shape[:2]) >= SPECTRUM_PX for picture in pictures)


def _each(work: Callable[..., Result], *columns: Iterable[Any]) -> list[Result]:
    """Do the work on every chip, on all cores: numpy, scipy and torch release Python's lock meanwhile."""
    chips = list(zip(*columns, strict=True))
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(lambda chip: work(*chip), chips))


def _against_old(bootstrap: Bootstrap, pictures: Sequence[UInt8Array], ground: Ground) -> dict[str, Estimate]:
    olds = ground.pictures[BICUBIC]
    kept = _each(partial(structure_kept, ratio=ground.ratio), pictures, olds)
    agreed = _each(partial(consistency, ratio=ground.ratio), pictures, olds)
    shifts = _each(shift_between, pictures, olds)
    return {
        "structure": bootstrap.mean(kept),
        "structure_worst": Estimate(float(np.min(kept))),
        "consistency": bootstrap.mean(agreed),
        "moved_px": bootstrap.mean([float(np.hypot(shift.dx_px, shift.dy_px)) for shift in shifts]),
    }


def _against_new(
    bootstrap: Bootstrap,
    pictures: Sequence[UInt8Array],
    olds: Sequence[Float32Array],
    ground: Ground,
) -> tuple[dict[str, Estimate], str]:

    def compared(picture: UInt8Array, old: Float32Array, new: UInt8Array) -> dict[str, float]:
        return asdict(compare(place(picture, new, exact=ground.exact), old, new))

    chips = _each(compared, pictures, olds, ground.pictures[NEW])
    worst = int(np.argmax([chip["hallucination"] for chip in chips]))
    estimates = {name: bootstrap.mean([chip[name] for chip in chips]) for name in chips[0]}
    return estimates, ground.chips[worst].name


def _of_the_network(restorer: Restorer, ground: Ground, options: EvaluateOptions) -> dict[str, Estimate]:
    """Measure the network's own pattern and seams, on a spread sample of the chips."""
    last = len(ground.pairs) - 1
    chosen = sorted({round(i) for i in np.linspace(0, last, _SAMPLE)})
    owner = np.unique(ground.blocks[chosen], return_inverse=True)[1].astype(np.intp)
    bootstrap = Bootstrap(owner, draws=options.draws, seed=options.seed)
    estimates = {}
    sides_px = [min(ground.pairs[i].old.shape[:2]) for i in chosen]
    if shown_at_all_phases(min(sides_px), restorer.spec.stride) >= SPECTRUM_PX:
        powers = [drawn_powers(restore_at_phases(restorer, ground.pairs[i], ground.photo)) for i in chosen]
        power, own = (np.stack(parts) for parts in zip(*powers, strict=True))
        estimates["drawn_pattern"] = bootstrap.drawn_pattern(power, own)
    seams = [seam for i in chosen if (seam := seam_sums(restorer, ground.pairs[i].old, ground.photo))]
    if len(seams) == len(chosen):
        estimates["seam_difference"] = bootstrap.mean([seam.difference for seam in seams])
        estimates["seam_gradient"] = bootstrap.mean(
            [seam.step for seam in seams], [seam.centred_step for seam in seams]
        )
    return estimates


def document(
    restorer: Restorer, scores: Sequence[Score], options: EvaluateOptions, judge: ChosenJudge | None = None
) -> dict[str, Any]:
    """Return the measurements as JSON values: the model, the options, and a row per score."""
    return {
        "model": {
            "name": restorer.spec.name,
            "digest": restorer.digest,
            "gsd_m": restorer.spec.gsd_m,
            "ratio": restorer.spec.ratio,
        },
        "intervals": {"confidence": CONFIDENCE, "draws": options.draws, "seed": options.seed},
        "judge": (judge or ChosenJudge()).as_json(),
        "scores": [
            {
                "site": score.site,
                "truth": score.truth,
                "method": score.method,
                "chips": score.chips,
                "blocks": score.blocks,
                "worst_chip": score.worst_chip,
                **{name: estimate.value for name, estimate in score.estimates.items()},
                "intervals": {
                    name: [estimate.low, estimate.high]
                    for name, estimate in score.estimates.items()
                    if estimate.low is not None
                },
            }
            for score in scores
        ],
    }
