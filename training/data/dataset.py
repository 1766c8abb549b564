"""Crops of pairs, real and aged, held in memory as bytes where they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.data.ageing import Ageing, aged
from training.data.manifest import read_manifest
from training.errors import DatasetError
from training.measure.flat_fill import WHITE, black_share, filled_share

UInt8Array = npt.NDArray[np.uint8]
# An aged crop with more black or more of one colour than this shows a border without a nodata tag.
_MAX_EMPTY: Final = 0.02
_TRIES: Final = 20


@dataclass(frozen=True)
class Pair:
    """Old and new, uint8 [H, W, 3] on one grid."""

    name: str
    old: UInt8Array
    new: UInt8Array

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.new.shape[0], self.new.shape[1]

    def load(self) -> Pair:
        """Itself."""
        return self

    def recoloured(self, recolour: Recolour) -> Pair:
        """With another new side."""
        return Pair(self.name, self.old, recolour(self))


Recolour = Callable[[Pair], UInt8Array]


@dataclass(frozen=True)
class StoredPair:
    """A pair that stays in its files and is read whenever it is looked at.

    Attributes:
        folder: of the pairs.
        chip: its name there.
        shape: height and width.
        recolour: makes the new side that is wanted of both.
    """

    folder: Path
    chip: str
    shape: tuple[int, int]
    recolour: Recolour | None = None

    def load(self) -> Pair:
        """Read it; raises as `load_pairs`."""
        pair = _load_pair(self.folder, self.chip)
        return pair.recoloured(self.recolour) if self.recolour else pair

    def recoloured(self, recolour: Recolour) -> StoredPair:
        """With another new side, from when it is read."""
        return replace(self, recolour=recolour)


AnyPair = Pair | StoredPair


def find_pairs(folders: Sequence[Path], split: str) -> list[StoredPair]:
    """Every chip of one split, not read yet.

    Raises:
        DatasetError: a folder holds no pairs, or a chip has sides of different sizes or cannot be opened.
    """
    return [
        StoredPair(folder, chip.name, _shape_of(folder, chip.name))
        for folder in folders
        for chip in read_manifest(folder)
        if chip.split == split
    ]


def _shape_of(folder: Path, name: str) -> tuple[int, int]:
    sizes = []
    for side in ("old", "new"):
        try:
            with Image.open(folder / side / f"{name}.png") as file:  # its header alone
                sizes.append(file.size)
        except OSError as error:
            raise DatasetError(
                f"chip {name} of {folder.name} cannot be read: make the pairs again"
            ) from error
    if sizes[0] != sizes[1]:
        raise _different_sizes(folder, name, sizes[0], sizes[1])
    return sizes[0][1], sizes[0][0]


def _different_sizes(folder: Path, name: str, old: tuple[int, int], new: tuple[int, int]) -> DatasetError:
    return DatasetError(
        f"chip {name} of {folder.name} has {old[0]} x {old[1]} px in old/ and {new[0]} x {new[1]} px in new/: "
        "make the pairs again"
    )


def bytes_of(pairs: Sequence[AnyPair]) -> int:
    """Memory that pairs take when they are loaded."""
    return sum(2 * 3 * height * width for height, width in (pair.shape for pair in pairs))


def load_all(pairs: Sequence[AnyPair]) -> list[Pair]:
    """Read pairs from their files."""
    with ThreadPoolExecutor() as pool:  # a PNG is decoded outside Python's lock
        return list(pool.map(lambda pair: pair.load(), pairs))


def load_pairs(folders: Sequence[Path], split: str, most: int | None = None) -> list[Pair]:
    """Every chip of one split, or so many at most, evenly spread over them all.

    Raises:
        DatasetError: a folder holds no pairs, or a chip cannot be read.
    """
    chips = [
        (folder, chip.name) for folder in folders for chip in read_manifest(folder) if chip.split == split
    ]
    if most is not None and len(chips) > most:
        chips = [chips[place] for place in np.linspace(0, len(chips) - 1, most).round().astype(int)]
    with ThreadPoolExecutor() as pool:  # a PNG is decoded outside Python's lock
        return list(pool.map(lambda chip: _load_pair(*chip), chips))


def _load_pair(folder: Path, name: str) -> Pair:
    try:
        old, new = (_read_rgb(folder / side / f"{name}.png") for side in ("old", "new"))
    except OSError as error:
        raise DatasetError(f"chip {name} of {folder.name} cannot be read: make the pairs again") from error
    if old.shape != new.shape:
        raise _different_sizes(folder, name, old.shape[1::-1], new.shape[1::-1])
    return Pair(f"{folder.name}/{name}", old, new)


def _read_rgb(path: Path) -> UInt8Array:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


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
        except Image.DecompressionBombError as error:
            raise DatasetError(
                f"{Path(path).name} is too large to be read as one picture: cut it up with gdal_translate -srcwin"
            ) from error
        except (OSError, ValueError) as error:
            name = Path(path).name
            raise DatasetError(f"{name} cannot be read as a picture: leave it out of --degrade") from error
    return pictures


class Item(NamedTuple):
    """A request to the loader: the number of an item, and the size of its crop."""

    number: int
    side_px: int


class CropDataset(Dataset[tuple[Tensor, Tensor, bool]]):
    """An endless supply of crops, each a function of the item and the seed alone.

    Each is the old and the new crop, uint8 [3, side, side], and whether they are exactly aligned (aged). What
    is aged is one of `sharp`, or as often the new side of a pair, whose textures are those that are wanted. With a
    measured `ageing`, it happens in that way, and to new sides alone where nothing else is sharp.
    """

    def __init__(
        self,
        pairs: Sequence[AnyPair],
        sharp: Sequence[UInt8Array],
        *,
        aged_share: float,
        seed: int,
        ageing: Ageing | None = None,
    ) -> None:
        if not pairs and not sharp:
            raise DatasetError(
                "there is nothing to train on: name folders of pairs, or pictures with --degrade"
            )
        self._pairs, self._seed, self._ageing = pairs, seed, ageing
        self._sharp = _AreaWeighted(
            [(one.shape[0], one.shape[1]) for one in sharp], lambda index: sharp[index]
        )
        self._news = _AreaWeighted([pair.shape for pair in pairs], lambda index: pairs[index].load().new)
        self._aged_share = 1.0 if not pairs else aged_share if sharp or ageing else 0.0

    @property
    def smallest_px(self) -> int:
        """Side of the largest crop that every picture has."""
        return min(min(shape) for shape in [*self._news.shapes, *self._sharp.shapes])

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor, bool]:
        rng = np.random.default_rng((self._seed, item.number))
        exact = bool(rng.random() < self._aged_share)
        old, new = (self._aged_crop if exact else self._real_crop)(item.side_px, rng)
        return _tensor(old), _tensor(new), exact

    def _real_crop(self, side_px: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        pair = self._pairs[int(rng.integers(len(self._pairs)))].load()
        window = _window(pair.new, side_px, rng)
        return pair.old[window], pair.new[window]

    def _aged_crop(self, side_px: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        from_pair = bool(self._pairs) and (not self._sharp.shapes or bool(rng.random() < 0.5))
        pictures = self._news if from_pair else self._sharp
        for _ in range(_TRIES):
            picture = pictures.draw(rng)
            new = picture[_window(picture, side_px, rng)]
            if max(black_share(new), filled_share(new, [WHITE])) <= _MAX_EMPTY:
                break
        return aged(new, rng, self._ageing), new


class _AreaWeighted:
    """Pictures, of which larger ones are drawn more often: every pixel has the same chance."""

    def __init__(self, shapes: Sequence[tuple[int, int]], read: Callable[[int], UInt8Array]) -> None:
        self.shapes, self._read = shapes, read
        sizes = np.array([height * width for height, width in shapes], np.float64)
        self._chances = sizes / max(sizes.sum(), 1.0)

    def draw(self, rng: np.random.Generator) -> UInt8Array:
        return self._read(int(rng.choice(len(self.shapes), p=self._chances)))


def _window(picture: UInt8Array, side_px: int, rng: np.random.Generator) -> tuple[slice, slice]:
    height, width = picture.shape[:2]
    if min(height, width) < side_px:
        raise DatasetError(
            f"a picture of {width} x {height} px is smaller than the crop of {side_px} px: leave it out"
        )
    y, x = rng.integers(height - side_px + 1), rng.integers(width - side_px + 1)
    return slice(y, y + side_px), slice(x, x + side_px)


def _tensor(rgb: UInt8Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
