"""A cheap look at the validation chips during a run, which finds the best weights and shows their pictures.

`orthosharp-train evaluate` is the measure; this one looks at a few chips, often, and only has to rank.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
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
from training.data.dataset import Pair, load_pairs
from training.data.manifest import ratio_of, read_site
from training.fit.module import Batch, RestorationModule
from training.measure.metrics import PATCH_PX, TextureFeatures, kernel_distance, patches, structure_kept

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
Restore = Callable[[UInt8Array, PhotoContext], UInt8Array]

BEST: Final = "best.safetensors"
SCORES: Final = "validation.jsonl"
SHEETS: Final = "sheets"

_CHIPS_PER_SITE: Final = 12
# Fewer patches than this do not make a distribution to compare.
_FEWEST_PATCHES: Final = 4
# Left out at a chip's edge, where the network sees no context, if enough is left.
_EDGE_PX: Final = 32
# Below this correlation with the old photo, the picture no longer shows that ground: this costs more than any texture.
_STRUCTURE: Final = 0.95
_STRUCTURE_COST: Final = 10.0
_LOGGED: Final = ("texture_distance", "structure", "score")
_SHEET_ROWS: Final = 4
_SHEET_PX: Final = 256


@dataclass(frozen=True)
class Look:
    """The validation scores of one step's weights; the lowest score is the best.

    Attributes:
        step: of the run.
        texture_distance: to the new photo over that of the old one, the mean of the sites; 1 is no better than bicubic.
        structure: correlation of luma with the old photo at its own pixel size, the mean of the chips.
        score: the texture distance, plus ten times the amount by which the structure falls below 0.95.
        digest: of the weights.
    """

    step: int
    texture_distance: float
    structure: float
    score: float
    digest: str = ""

    @classmethod
    def of(cls, step: int, texture_distance: float, structure: float) -> Look:
        """With the score of the two metrics."""
        score = texture_distance + _STRUCTURE_COST * max(0.0, _STRUCTURE - structure)
        return cls(step, texture_distance, structure, score)


class _Site:
    """Some chips, evenly spread over a site's validation block, with what does not change between two looks."""

    def __init__(self, folder: Path, features: TextureFeatures, stride: int) -> None:
        self._features, self._stride = features, stride
        pairs = [
            pair
            for pair in load_pairs([folder], "validation")
            if min(self._inner(pair.new).shape[:2]) >= PATCH_PX
        ]
        spread = np.linspace(0, len(pairs) - 1, min(len(pairs), _CHIPS_PER_SITE)).round().astype(int)
        self.pairs: list[Pair] = [pairs[place] for place in spread]
        site = read_site(folder)
        self.ratio = ratio_of(site)
        if self.is_enough:
            self._truth = self._statistics([pair.new for pair in self.pairs])
            self._bicubic = kernel_distance(self._statistics([pair.old for pair in self.pairs]), self._truth)

    @property
    def is_enough(self) -> bool:
        inner = [self._inner(pair.new) for pair in self.pairs]
        patches_in = sum((a.shape[0] // PATCH_PX) * (a.shape[1] // PATCH_PX) for a in inner)
        return int(patches_in) >= _FEWEST_PATCHES

    def texture_distance(self, restored: Sequence[UInt8Array]) -> float:
        """Over that of the old photo."""
        return kernel_distance(self._statistics(restored), self._truth) / max(self._bicubic, 1e-6)

    def structures(self, restored: Sequence[UInt8Array]) -> list[float]:
        """One per chip."""
        return [
            structure_kept(self._inner(picture), self._inner(pair.old), self.ratio)
            for picture, pair in zip(restored, self.pairs, strict=True)
        ]

    def _statistics(self, pictures: Sequence[UInt8Array]) -> FloatArray:
        return self._features(patches([self._inner(picture) for picture in pictures]))

    def _inner(self, rgb: UInt8Array) -> UInt8Array:
        sides = [side // self._stride * self._stride for side in rgb.shape[:2]]
        edge = _EDGE_PX if min(sides) >= PATCH_PX + 2 * _EDGE_PX else 0
        return rgb[edge : sides[0] - edge, edge : sides[1] - edge]


class Validation:
    """The sites of a run that have validation chips enough to be looked at; there may be none."""

    def __init__(self, folders: Sequence[Path], stride: int) -> None:
        features = TextureFeatures()
        sites = [_Site(folder, features, stride) for folder in dict.fromkeys(folders)]
        self._sites = [site for site in sites if site.is_enough]

    def __len__(self) -> int:
        return len(self._sites)

    def look(self, step: int, restore: Restore) -> tuple[Look, UInt8Array]:
        """Score `restore`, which takes and gives uint8 [H, W, 3], and draw a sheet: old, restored, new."""
        distances: list[float] = []
        structures: list[float] = []
        rows = []
        for site in self._sites:
            photo = PhotoContext(site.ratio)
            restored = [restore(pair.old, photo) for pair in site.pairs]
            distances.append(site.texture_distance(restored))
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
        self._validation = Validation(folders, module.spec.stride)
        if not len(self._validation):
            self._say(f"too few validation chips of {PATCH_PX} px to look at: no {BEST} will be kept")
        (self._run / SHEETS).mkdir(exist_ok=True)

    def _recall(self, resumed: bool) -> None:
        if not resumed:
            for name in (BEST, SCORES):
                (self._run / name).unlink(missing_ok=True)
            return
        if (self._run / SCORES).is_file():
            lines = (self._run / SCORES).read_text().splitlines()
            self._looks = {look.step: look for look in (Look(**json.loads(line)) for line in lines)}
        # The file itself says which look was the best: it may be newer than the progress that was saved.
        if (self._run / BEST).is_file():
            kept = load_weights(self._run / BEST).digest
            self._best = min((a.score for a in self._looks.values() if a.digest == kept), default=math.inf)

    def __call__(self, module: RestorationModule, _batch: Batch) -> None:
        """Look, if it is time."""
        due = module.step % module.config.validate_every == 0 or module.step == module.config.steps
        if due and len(self._validation):
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
            f"validation {look.step}: texture distance {look.texture_distance:.3f} of bicubic's, "
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
