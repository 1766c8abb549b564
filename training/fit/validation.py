"""A cheap look at the validation chips during a run, which finds the best weights and shows their pictures.

`orthosharp-train evaluate` is the measure; this one looks at a few chips, often, and only has to rank. It ranks where
the truth is known: the new photo's chips are aged, restored, and compared with themselves by a network that the loss
does not use.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from PIL import Image

from sr_model.atomic import write_atomic
from sr_model.photo import PhotoContext
from sr_model.weights import content_digest, load_weights, save_weights
from training.data.ageing import Ageing, aged
from training.data.dataset import Pair, load_pairs
from training.data.manifest import ratio_of, read_site
from training.fit.divergence import BEST
from training.fit.module import Batch, RestorationModule
from training.measure.feature_distance import FeatureJudge, open_judge
from training.measure.judge_networks import VGG16
from training.measure.metrics import structure_kept

UInt8Array = npt.NDArray[np.uint8]
Restore = Callable[[UInt8Array, PhotoContext], UInt8Array]

SCORES: Final = "validation.jsonl"
SHEETS: Final = "sheets"

_CHIPS_PER_SITE: Final = 12
# Smaller pictures show a judge little.
_LEAST_PX: Final = 64
# Left out at a chip's edge, where the network sees no context, if enough is left.
_EDGE_PX: Final = 32
# Of the ageing: the same at every look, in every run.
_AGEING_SEED: Final = 1022
# Below this correlation with the old photo, the picture no longer shows that ground: this costs more than any texture.
_STRUCTURE: Final = 0.95
_STRUCTURE_COST: Final = 10.0
_LOGGED: Final = ("feature_distance", "structure", "score")
_SHEET_ROWS: Final = 4
_SHEET_PX: Final = 256


@dataclass(frozen=True)
class Look:
    """The validation scores of one step's weights; the lowest score is the best.

    Attributes:
        step: of the run.
        feature_distance: of aged chips, restored, to what they were, over that of the aged ones themselves, the mean
            of the sites; 1 is no better than bicubic.
        structure: correlation of luma with the old photo at its own pixel size, the mean of the chips.
        score: the feature distance, plus ten times the amount by which the structure falls below 0.95.
        digest: of the weights.
    """

    step: int
    feature_distance: float
    structure: float
    score: float
    digest: str = ""

    @classmethod
    def of(cls, step: int, feature_distance: float, structure: float) -> Look:
        """With the score of the two metrics."""
        score = feature_distance + _STRUCTURE_COST * max(0.0, _STRUCTURE - structure)
        return cls(step, feature_distance, structure, score)


class _Site:
    """Some chips, evenly spread over a site's validation block, with what does not change between two looks."""

    def __init__(self, folder: Path, judge: FeatureJudge, stride: int, ageing: Ageing | None) -> None:
        self._judge, self._stride = judge, stride
        self.pairs: list[Pair] = [
            pair
            for pair in load_pairs([folder], "validation", _CHIPS_PER_SITE)
            if min(self._inner(pair.new).shape[:2]) >= _LEAST_PX
        ]
        self.photo = PhotoContext(ratio_of(read_site(folder)))
        self.aged = [
            aged(pair.new, np.random.default_rng((_AGEING_SEED, index)), ageing)
            for index, pair in enumerate(self.pairs)
        ]
        self._bicubic = self._distance(self.aged)

    def feature_distance(self, restore: Restore) -> float:
        """Of the aged chips, restored, over that of the aged ones."""
        restored = [restore(old, self.photo) for old in self.aged]
        return self._distance(restored) / max(self._bicubic, 1e-6)

    def structures(self, restored: Sequence[UInt8Array]) -> list[float]:
        """One per chip."""
        return [
            structure_kept(self._inner(picture), self._inner(pair.old), self.photo.ratio)
            for picture, pair in zip(restored, self.pairs, strict=True)
        ]

    def _distance(self, pictures: Sequence[UInt8Array]) -> float:
        """The mean over the chips, to the new photo."""
        return float(
            np.mean(
                [
                    self._judge.distance(self._inner(picture), self._inner(pair.new))
                    for picture, pair in zip(pictures, self.pairs, strict=True)
                ]
            )
            if self.pairs
            else 0.0
        )

    def _inner(self, rgb: UInt8Array) -> UInt8Array:
        sides = [side // self._stride * self._stride for side in rgb.shape[:2]]
        edge = _EDGE_PX if min(sides) >= _LEAST_PX + 2 * _EDGE_PX else 0
        return rgb[edge : sides[0] - edge, edge : sides[1] - edge]


class Validation:
    """The sites of a run that have validation chips large enough to be looked at; there may be none.

    Args:
        folders: of pairs.
        stride: of the network.
        loss_networks: those whose features the loss uses; another one judges.
        ageing: of the old photograph, where it was measured.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        stride: int,
        loss_networks: Sequence[str] = (),
        ageing: Ageing | None = None,
    ) -> None:
        judge = open_judge(loss_networks)
        sites = [_Site(folder, judge, stride, ageing) for folder in dict.fromkeys(folders)]
        self._sites = [site for site in sites if site.pairs]

    def __len__(self) -> int:
        return len(self._sites)

    def look(self, step: int, restore: Restore) -> tuple[Look, UInt8Array]:
        """Score `restore`, which takes and gives uint8 [H, W, 3], and draw a sheet: old, restored, new."""
        distances: list[float] = []
        structures: list[float] = []
        rows = []
        for site in self._sites:
            restored = [restore(pair.old, site.photo) for pair in site.pairs]
            distances.append(site.feature_distance(restore))
            structures += site.structures(restored)
            rows += [(p.old, r, p.new) for p, r in zip(site.pairs, restored, strict=True)]
        shown = np.linspace(0, len(rows) - 1, min(len(rows), _SHEET_ROWS)).round().astype(int)
        look = Look.of(step, float(np.mean(distances)), float(np.mean(structures)))
        return look, _sheet([rows[place] for place in shown])


def _sheet(rows: Sequence[Sequence[UInt8Array]]) -> UInt8Array:
    """The middles of pictures on a white sheet, one row each."""
    side, gap = _SHEET_PX, 4
    columns = len(rows[0])
    sheet = np.full((len(rows) * (side + gap) - gap, columns * (side + gap) - gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            part = _middle(picture, side)
            top, left = y * (side + gap), x * (side + gap)
            sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
    return sheet


def _middle(picture: UInt8Array, side: int) -> UInt8Array:
    y, x = (max((length - side) // 2, 0) for length in picture.shape[:2])
    return picture[y : y + side, x : x + side]


class Validate:
    """Looks every `validate_every` steps and at the end; keeps the best weights, the scores and the sheets."""

    def __init__(
        self,
        run: Path,
        module: RestorationModule,
        fabric: Fabric,
        *,
        resumed: bool,
        say: Callable[[str], None],
    ) -> None:
        """Read the chips, and what an interrupted run has found so far."""
        self._run, self._fabric, self._say = run, fabric, say
        self._looks: dict[int, Look] = {}
        self._best = math.inf
        self._recall(resumed)
        folders = [Path(folder) for folder in module.config.pairs]
        # The other network that judges, EfficientNet-Lite0, is in no loss.
        used = () if module.config.loss.pixels_only else (VGG16,)
        self._validation = Validation(folders, module.spec.stride, used, module.config.ageing)
        if not len(self._validation):
            self._say(f"no validation chip of {_LEAST_PX} px to look at: no {BEST} will be kept")
        (self._run / SHEETS).mkdir(exist_ok=True)

    def _recall(self, resumed: bool) -> None:
        if not resumed:
            for name in (BEST, SCORES):
                (self._run / name).unlink(missing_ok=True)
            return
        if (self._run / SCORES).is_file():
            lines = [json.loads(line) for line in (self._run / SCORES).read_text().splitlines()]
            # A run that an older version began was scored by another metric.
            known = {item.name for item in fields(Look)}
            self._looks = {line["step"]: Look(**line) for line in lines if line.keys() == known}
        # The file itself says which look was the best: it may be newer than the progress that was saved.
        if (self._run / BEST).is_file():
            kept = load_weights(self._run / BEST).digest
            self._best = min((a.score for a in self._looks.values() if a.digest == kept), default=math.inf)

    def __call__(self, module: RestorationModule, _batch: Batch) -> None:
        """Look, if it is time."""
        due = module.step % module.config.validate_every == 0 or module.step == module.config.steps
        # Weights that no finite gradient has confirmed may paint what is not finite.
        if due and len(self._validation) and (not int(module.lost) or module.step == module.config.steps):
            look, sheet = self._validation.look(module.step, module.restore_photo)
            self._keep(look, module)
            self._show(look, sheet)

    def _keep(self, look: Look, module: RestorationModule) -> None:
        """Scores first: whichever file a kill leaves behind, the other can be told from it."""
        state = module.average.module.state_dict()
        look = replace(look, digest=content_digest(module.spec, state))
        self._looks[look.step] = look
        lines = [json.dumps(asdict(self._looks[step])) for step in sorted(self._looks)]
        write_atomic(self._run / SCORES, ("\n".join(lines) + "\n").encode())
        if better := look.score < self._best:
            self._best = look.score
            save_weights(self._run / BEST, module.spec, state, dtype=torch.float32)
        self._say(
            f"validation {look.step}: feature distance {look.feature_distance:.3f} of bicubic's, "
            f"structure {look.structure:.3f}, score {look.score:.3f}" + (" (best)" if better else "")
        )

    def _show(self, look: Look, sheet: UInt8Array) -> None:
        png = io.BytesIO()
        Image.fromarray(sheet).save(png, "PNG")
        write_atomic(self._run / SHEETS / f"step_{look.step:07d}.png", png.getvalue())
        self._fabric.log_dict({f"validation/{name}": getattr(look, name) for name in _LOGGED}, look.step)
        for logger in self._fabric.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("old | restored | new", sheet, look.step, dataformats="HWC")
