"""Crops of pairs, real and aged, held in memory as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.degrade import age
from training.errors import DatasetError
from training.pairs import read_manifest

UInt8Array = npt.NDArray[np.uint8]
# An aged crop with more black than this shows a wedge without a nodata tag.
_MAX_BLACK: Final = 0.02
_TRIES: Final = 20


@dataclass(frozen=True)
class Pair:
    """Old and new, uint8 [H, W, 3] on one grid."""

    name: str
    old: UInt8Array
    new: UInt8Array


def load_pairs(folders: Sequence[Path], split: str) -> list[Pair]:
    """Every chip of one split.

    Raises:
        DatasetError: a folder holds no pairs, or a chip cannot be read.
    """
    pairs = []
    for folder in folders:
        for chip in read_manifest(folder):
            if chip.split != split:
                continue
            try:
                old, new = (
                    np.asarray(Image.open(folder / side / f"{chip.name}.png").convert("RGB"))
                    for side in ("old", "new")
                )
            except OSError as error:
                raise DatasetError(
                    f"chip {chip.name} of {folder.name} cannot be read: make the pairs again"
                ) from error
            pairs.append(Pair(f"{folder.name}/{chip.name}", old, new))
    return pairs


def load_sharp(sources: Sequence[str]) -> list[UInt8Array]:
    """Pictures to age, uint8 [H, W, 3]; `PATH:2` halves one whose pixels are finer than the model's.

    Raises:
        DatasetError: a picture cannot be read.
    """
    pictures = []
    for source in sources:
        path, _, factor = source.rpartition(":") if source[-2:-1] == ":" else (source, "", "1")
        try:
            pictures.append(np.asarray(Image.open(path).convert("RGB").reduce(int(factor))))
        except (OSError, ValueError) as error:
            name = Path(path).name
            raise DatasetError(f"{name} cannot be read as a picture: leave it out of --degrade") from error
    return pictures


class CropDataset(Dataset[tuple[Tensor, Tensor, bool]]):
    """An endless supply of crops; item `i` is a function of `i` and the seed alone.

    Each item is the old and the new crop, uint8 [3, crop, crop], and whether they are exactly aligned (aged). What
    is aged is one of `sharp`, or as often the new side of a pair, whose textures are those that are wanted.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        sharp: Sequence[UInt8Array],
        *,
        crop_px: int,
        length: int,
        aged_share: float,
        seed: int,
    ) -> None:
        if not pairs and not sharp:
            raise DatasetError(
                "there is nothing to train on: name folders of pairs, or pictures with --degrade"
            )
        self._pairs, self._sharp = pairs, sharp
        self._crop_px, self._length, self._seed = crop_px, length, seed
        self._aged_share = 1.0 if not pairs else aged_share if sharp else 0.0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, bool]:
        rng = np.random.default_rng((self._seed, index))
        aged = bool(rng.random() < self._aged_share)
        old, new = self._aged_crop(rng) if aged else self._real_crop(rng)
        return _tensor(old), _tensor(new), aged

    def _real_crop(self, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        pair = self._pairs[int(rng.integers(len(self._pairs)))]
        window = self._window(pair.new, rng)
        return pair.old[window], pair.new[window]

    def _aged_crop(self, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        from_pair = bool(self._pairs) and bool(rng.random() < 0.5)
        pictures = [pair.new for pair in self._pairs] if from_pair else self._sharp
        # Larger pictures are drawn more often: every pixel has the same chance.
        sizes = np.array([picture.shape[0] * picture.shape[1] for picture in pictures], np.float64)
        for _ in range(_TRIES):
            picture = pictures[rng.choice(len(sizes), p=sizes / sizes.sum())]
            new = picture[self._window(picture, rng)]
            if float((new.max(axis=2) < 4).mean()) <= _MAX_BLACK:
                break
        return age(new, rng), new

    def _window(self, picture: UInt8Array, rng: np.random.Generator) -> tuple[slice, slice]:
        height, width = picture.shape[:2]
        if min(height, width) < self._crop_px:
            raise DatasetError(
                f"a picture of {width} x {height} px is smaller than the crop of {self._crop_px} px"
            )
        y, x = rng.integers(height - self._crop_px + 1), rng.integers(width - self._crop_px + 1)
        return slice(y, y + self._crop_px), slice(x, x + self._crop_px)


def _tensor(rgb: UInt8Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
