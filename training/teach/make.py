"""Squares of old photographs, real and made, and what a super-resolution model answers to them.

A large model that has seen millions of pictures draws plausible edges and is far too slow for tiles; a small network
learns its answers (distillation: Hinton et al. 2015). The photograph's unsharp mask is undone before the model is
asked, since it would draw every rim sharper.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sr_model.atomic import write_atomic
from sr_model.halo import dehalo
from sr_model.single_image import SingleImageNetwork
from sr_model.weights import Weights, load_weights
from training.data.degrade import age
from training.data.taught import (
    ANSWER,
    PHOTO,
    RECORD,
    SIDE_PX,
    UInt8Array,
)
from training.errors import DatasetError
from training.locks import is_unused
from training.progress import Report, no_report
from training.teach.ground import Ground

# What the model sees around a square, so that the square's border is as good as its middle.
_MARGIN_PX: Final = 8
_SQUARE_PX: Final = SIDE_PX + 2 * _MARGIN_PX
# Of sharp pictures, so many pixels are aged together and then become one, as an old photograph's would.
_SHARPER: Final = 2
_QUALITY: Final = 95
# What may differ between two calls for one folder: it is used where crops are read.
_FREE: Final = ("own_texture", "own_texture_in_woods", "crispness")


@dataclass(frozen=True)
class CropChoices:
    """How crops are made.

    Attributes:
        own_texture, own_texture_in_woods: shares of the photograph's own texture in what is learnt, everywhere and
            where texture has no direction, see `sr_model.texture`.
        crispness: how much answers are sharpened outside woods, see `training.data.taught.crispened`.
        aged_share: share of the crops that are aged sharp pictures, where there are some.
        seed: of every draw.
    """

    own_texture: float = 0.2
    own_texture_in_woods: float = 0.5
    crispness: float = 0.0
    aged_share: float = 0.4
    seed: int = 0


def make_crops(
    photos: Sequence[Path],
    sharp: Sequence[Path],
    teacher: Path,
    out: Path,
    choices: CropChoices,
    *,
    most: int = 1000,
    minutes: float | None = None,
    report: Report = no_report,
) -> int:
    """Write crops into a folder until there are enough or time is up; the same call goes on after a stop.

    Args:
        photos: old photographs, rasters of bytes at their own pixels.
        sharp: sharp pictures, which are aged.
        teacher: weights that `orthosharp-train import` wrote.
        out: the folder.
        choices: see `CropChoices`.
        most: number of crops that the folder shall have.
        minutes: after which no further crop is begun; no limit if None.
        report: called after each crop.

    Returns:
        Number of crops in the folder.

    Raises:
        DatasetError: a picture cannot be read, there is none, the weights are not an imported model's, or the folder
            holds crops of others.
        WeightsError: the weights cannot be read.
    """
    if not photos and not sharp:
        raise DatasetError("there is nothing to cut crops from: name photographs, or pictures with --sharp")
    started = time.monotonic()
    model = _Teacher(load_weights(teacher))
    measured = {path: Ground.measured(path) for path in photos}
    # A photograph that is named twice is drawn twice as often.
    grounds, sharp_grounds = [measured[path] for path in photos], [Ground(path) for path in sharp]
    for ground in measured.values():
        ground.check_holds(_SQUARE_PX)
    for ground in sharp_grounds:
        ground.check_holds(_SQUARE_PX * _SHARPER)
    out.mkdir(parents=True, exist_ok=True)
    _begin(out, _record(model.weights, grounds, sharp, choices))
    sources = grounds, sharp_grounds
    for number in range(most):
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            break
        if not (out / PHOTO.format(number)).is_file():
            _make(out, number, sources, model, choices)
        report("crops", number + 1, most)
    return sum(1 for _ in out.glob(PHOTO.format(0).replace("000000", "[0-9]" * 6)))


class _Teacher:
    """An imported model that answers to squares."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        network = weights.network()
        if not isinstance(network, SingleImageNetwork):
            raise DatasetError(
                f"{weights.spec.name} is not a super-resolution model: make weights of one with "
                "`orthosharp-train import`"
            )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device)

    def answer(self, rgb: UInt8Array) -> UInt8Array:
        """uint8 [h, w, 3] to [ratio h, ratio w, 3]."""
        seen = torch.tensor(rgb, device=self._device).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            made = self._network.enlarge(seen.contiguous())[0]
        return (made.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()


def _make(
    out: Path, number: int, sources: tuple[list[Ground], list[Ground]], model: _Teacher, choices: CropChoices
) -> None:
    """One crop, a function of its number: the answer first, so that a photograph always has one."""
    rng = np.random.default_rng((choices.seed, number))
    grounds, sharp = sources
    aged = bool(sharp) and (not grounds or bool(rng.random() < choices.aged_share))
    chosen = sharp if aged else grounds
    ground = chosen[int(rng.integers(len(chosen)))]
    square = ground.square(_SQUARE_PX * (_SHARPER if aged else 1), rng)
    if square is None:
        return
    if aged:
        square = np.asarray(Image.fromarray(age(square, rng)).reduce(_SHARPER))
    answer = model.answer(dehalo(square, ground.halo_amount, ground.halo_radius_px))
    ratio = answer.shape[0] // _SQUARE_PX
    inner, larger = (slice(_MARGIN_PX * by, -_MARGIN_PX * by) for by in (1, ratio))
    write_atomic(
        out / ANSWER.format(number), _encoded(answer[larger, larger], "JPEG", quality=_QUALITY, subsampling=0)
    )
    about = PngInfo()
    about.add_text("halo", json.dumps([ground.halo_amount, ground.halo_radius_px]))
    write_atomic(out / PHOTO.format(number), _encoded(square[inner, inner], "PNG", pnginfo=about))


def _encoded(rgb: UInt8Array, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **options)
    return buffer.getvalue()


def _record(
    weights: Weights, grounds: Sequence[Ground], sharp: Sequence[Path], choices: CropChoices
) -> dict[str, Any]:
    """What the crops come from, without any path."""
    spec = weights.spec
    return {
        "teacher": {
            "name": spec.name,
            "digest": weights.digest,
            "licence": spec.licence,
            "credit": spec.credit,
        },
        "photographs": [asdict(ground) | {"path": ground.path.name} for ground in grounds],
        "sharp": [path.name for path in sharp],
        **asdict(choices),
    }


def _begin(out: Path, record: dict[str, Any]) -> None:
    """Write the folder's record; refuse a folder whose crops come from something else."""
    path = out / RECORD
    if path.is_file():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise DatasetError(f"{out.name}/{RECORD} is damaged: name another folder") from error
        differing = sorted(key for key in record if key not in _FREE and found.get(key) != record[key])
        if differing:
            raise DatasetError(
                f"{out.name} holds crops with another {differing[0]}: name another folder, and give both to `fit`"
            )
    elif not is_unused(out):
        raise DatasetError(f"{out.name} holds other files: name a new folder")
    write_atomic(path, (json.dumps(record, indent=2) + "\n").encode())
