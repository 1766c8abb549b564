"""Whether a site's own network is worth serving: it beside the bundled one and bicubic, on ground that was kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sr_model.machine import usable_cores
from training.evaluate.methods import BICUBIC, NEW, OURS
from training.evaluate.score import AGED, REAL, Ground
from training.measure.bootstrap import Bootstrap, Estimate
from training.measure.feature_distance import FeatureJudge
from training.measure.fidelity import inside, place
from training.measure.metrics import structure_kept

UInt8Array = npt.NDArray[np.uint8]

BUNDLED: Final = "bundled network"
# Below this agreement with the old photo, a picture no longer shows that ground; the bundled network may be below, too.
_LEAST_STRUCTURE: Final = 0.95
_STRUCTURE_LEEWAY: Final = 0.01


@dataclass(frozen=True)
class Verdict:
    """The comparison, and what follows from it. Distances are ratios: below 1, the site's network is nearer.

    Attributes:
        chips, blocks: of kept ground.
        judge: the network that judged.
        real_to_bundled, real_to_bicubic: feature distance of the old chips, restored, to the new ones, over that of
            the bundled network's pictures and of bicubic ones.
        aged_to_bundled, aged_to_bicubic: the same of new chips, aged as the old photograph is.
        structure, structure_of_bundled: agreement of the pictures with the old photo, at what that resolves.
    """

    chips: int
    blocks: int
    judge: str
    real_to_bundled: Estimate
    real_to_bicubic: Estimate
    aged_to_bundled: Estimate
    aged_to_bicubic: Estimate
    structure: float
    structure_of_bundled: float

    @property
    def faults(self) -> list[str]:
        """Why it is not worth serving; empty where it is."""
        if self.real_to_bundled.high is None:
            return ["one block of kept ground cannot tell"]
        wanted = min(_LEAST_STRUCTURE, self.structure_of_bundled) - _STRUCTURE_LEEWAY
        checks = [
            (
                _is_nearer(self.real_to_bundled),
                "it is not surely nearer to the new photo than the bundled network",
            ),
            (
                _is_nearer(self.real_to_bicubic),
                "it is not surely nearer to the new photo than plain enlarging",
            ),
            (
                not _is_farther(self.aged_to_bundled),
                "where the truth is known it is farther from it than the bundled network",
            ),
            (
                self.structure >= wanted,
                f"its pictures agree less with the old photo ({self.structure:.3f}; {wanted:.3f} is the least)",
            ),
        ]
        return [fault for passed, fault in checks if not passed]

    @property
    def is_worth_serving(self) -> bool:
        """Whether every check passed."""
        return not self.faults

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        measured = (
            f"on {self.chips} kept chips ({self.blocks} blocks of ground), feature distance to the new photo over the "
            f"bundled network's {_told(self.real_to_bundled)}, over bicubic's {_told(self.real_to_bicubic)}; on aged "
            f"chips {_told(self.aged_to_bundled)} and {_told(self.aged_to_bicubic)}"
        )
        if self.is_worth_serving:
            return f"Worth serving: {measured}."
        return f"Not worth serving, {'; '.join(self.faults)}: {measured}. Serve the bundled network."

    def as_json(self) -> dict[str, Any]:
        """All of it, with the sentence."""
        return asdict(self) | {"worth_serving": self.is_worth_serving, "sentence": self.sentence}


def compare(grounds: Sequence[Ground], judge: FeatureJudge, *, draws: int = 1000, seed: int = 0) -> Verdict:
    """Compare the pictures that `training.evaluate.score.grounds_of` made.

    Args:
        grounds: the kept chips with their real old side and aged, the bundled network beside.
        judge: a network that the loss did not use.
        draws, seed: of the bootstrap.
    """
    by_truth = {ground.truth: ground for ground in grounds}
    real, aged = by_truth[REAL], by_truth[AGED]
    bootstrap = Bootstrap(real.blocks, draws=draws, seed=seed)
    nearer = {
        truth: {method: _distances(ground, method, judge) for method in (OURS, BUNDLED, BICUBIC)}
        for truth, ground in by_truth.items()
    }
    structures = {method: _structure(real, method) for method in (OURS, BUNDLED)}
    return Verdict(
        chips=len(real.chips),
        blocks=bootstrap.blocks,
        judge=judge.name,
        real_to_bundled=bootstrap.mean(nearer[real.truth][OURS], nearer[real.truth][BUNDLED]),
        real_to_bicubic=bootstrap.mean(nearer[real.truth][OURS], nearer[real.truth][BICUBIC]),
        aged_to_bundled=bootstrap.mean(nearer[aged.truth][OURS], nearer[aged.truth][BUNDLED]),
        aged_to_bicubic=bootstrap.mean(nearer[aged.truth][OURS], nearer[aged.truth][BICUBIC]),
        structure=structures[OURS],
        structure_of_bundled=structures[BUNDLED],
    )


def _distances(ground: Ground, method: str, judge: FeatureJudge) -> list[float]:
    """Of every chip, after registration where the two sides are not exactly aligned."""

    def distance(picture: UInt8Array, new: UInt8Array) -> float:
        return judge.distance(place(picture, new, exact=ground.exact), inside(new.astype(np.float32)))

    return _each(distance, ground.pictures[method], ground.pictures[NEW])


def _structure(ground: Ground, method: str) -> float:
    def structure(picture: UInt8Array, old: UInt8Array) -> float:
        return structure_kept(picture, old, ground.ratio)

    return float(np.mean(_each(structure, ground.pictures[method], ground.pictures[BICUBIC])))


def _each(
    work: Callable[[UInt8Array, UInt8Array], float], first: Sequence[UInt8Array], second: Sequence[UInt8Array]
) -> list[float]:
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(work, first, second))


def _is_nearer(ratio: Estimate) -> bool:
    return ratio.high is not None and ratio.high < 1


def _is_farther(ratio: Estimate) -> bool:
    return ratio.low is not None and ratio.low > 1


def _told(ratio: Estimate) -> str:
    ends = "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.3f} to {ratio.high:.3f})"
    return f"{ratio.value:.3f}{ends}"
