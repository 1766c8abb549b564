"""Crops with a teacher's answer beside them, as `orthosharp-train crops` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sr_model.boxes import block_means, enlarge_columns, enlarge_rows
from sr_model.halo import dehalo
from sr_model.pixels import LUMA
from sr_model.texture import undirected_texture
from training.data.dataset import Item
from training.errors import DatasetError

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

# Side of a crop in the photograph's pixels, and the files of a folder.
SIDE_PX: Final = 192
PHOTO: Final = "{:06d}.png"
ANSWER: Final = "{:06d}.answer.jpg"
RECORD: Final = "crops.json"

# Ratios that relative weights see, and every so many crops one that is not learnt from.
_RATIOS: Final = (1.41, 2.83)
_KEPT: Final = 20
# Cells of `sr_model.texture`, and the border of a crop that is not looked at.
_CELL_PX: Final = 4
_BORDER_PX: Final = 8
# Shares of what is shown in grey, and with more or less colour.
_GREY: Final = 0.1
_COLOURED: Final = 0.3
_LUMA: Final = np.array(LUMA, np.float32)
# The low-pass of `crispened`.
_TENT: Final = torch.tensor((0.25, 0.5, 0.25))

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class TaughtCrop:
    """One crop in its folder.

    Attributes:
        folder: where it lies.
        number: of its files.
        own_texture, own_texture_in_woods: shares of the photograph's own texture in what is learnt.
        crispness: how much the answer is sharpened, see `crispened`.
    """

    folder: Path
    number: int
    own_texture: float
    own_texture_in_woods: float
    crispness: float = 0.0

    def read(self) -> tuple[UInt8Array, UInt8Array, tuple[float, float]]:
        """The photograph, uint8 [192, 192, 3]; the teacher's answer, as many times larger; and the mask it undid.

        Raises:
            DatasetError: a file is damaged or missing.
        """
        try:
            with Image.open(self.folder / PHOTO.format(self.number)) as file:
                photo = np.asarray(file.convert("RGB"))
                amount, radius_px = json.loads(file.info["halo"])
            with Image.open(self.folder / ANSWER.format(self.number)) as file:
                answer = np.asarray(file.convert("RGB"))
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(
                f"crop {self.number} of {self.folder.name} cannot be read: remove {PHOTO.format(self.number)} and make "
                "the crops again"
            ) from error
        return photo, answer, (amount, radius_px)


def list_crops(folders: Sequence[Path], split: Split) -> list[TaughtCrop]:
    """The crops of folders that are learnt from, or those that are kept to look at.

    Raises:
        DatasetError: a folder was not made by `crops`, or there is no crop of that kind.
    """
    found = []
    for folder in folders:
        record = read_record(folder)
        shares = record["own_texture"], record["own_texture_in_woods"], record.get("crispness", 0.0)
        numbers = sorted(int(path.stem) for path in folder.glob("[0-9]" * 6 + ".png"))
        kept = set(numbers[::_KEPT])
        found += [TaughtCrop(folder, n, *shares) for n in numbers if (n in kept) == (split == "validation")]
    if not found:
        raise DatasetError(
            f"{', '.join(folder.name for folder in folders)}: no crops to learn from; make two at least with "
            "`orthosharp-train crops`"
        )
    return found


def read_record(folder: Path) -> dict[str, Any]:
    """What a folder's crops come from.

    Raises:
        DatasetError: it was not made by `crops`.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder.name} has no readable {RECORD}: make it with `orthosharp-train crops`"
        ) from error
    return record


def check_side(side_px: int) -> None:
    """Raise DatasetError unless squares of this side fit into a crop at every ratio."""
    largest = int(SIDE_PX * _RATIOS[0]) - 2 * _BORDER_PX - _CELL_PX
    if side_px > largest:
        raise DatasetError(
            f"squares of {side_px} px do not fit into crops of {SIDE_PX} px at every ratio: choose --sizes of "
            f"{largest} px at most"
        )


class TaughtDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """An endless supply of squares, each a function of the item and the seed alone.

    Each is the old photograph on the output's grid and what to make of it, float32 [3, side, side] of 0 to 1, and
    where texture has no direction, float32 [1, side, side]. Pictures are read when they are needed.
    """

    def __init__(self, crops: Sequence[TaughtCrop], seed: int) -> None:
        self._crops, self._seed = crops, seed

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self._seed, item.number))
        crop = self._crops[int(rng.integers(len(self._crops)))]
        cells = round(SIDE_PX / _CELL_PX * rng.uniform(*_RATIOS))
        window = _window(cells * _CELL_PX, item.side_px, rng)
        old, wanted, woods = (plane[window] for plane in on_grid(crop, cells * _CELL_PX))
        old, wanted = _recoloured(old, wanted, rng)
        turn, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
        return _tensor(old, turn, mirror), _tensor(wanted, turn, mirror), _tensor(woods, turn, mirror)


def on_grid(crop: TaughtCrop, side_px: int) -> tuple[Float32Array, Float32Array, Float32Array]:
    """A crop on a grid of the output.

    Args:
        crop: the crop.
        side_px: of the grid, a multiple of 4.

    Returns:
        The photograph and what to make of it, float32 [side, side, 3] of 0 to 1, and where texture has no direction,
        float32 [side, side, 1]. What to make of it is the teacher's answer, sharpened outside woods, and mixed with
        the photograph's own texture.
    """
    photo, answer, halo = crop.read()
    old = _resized(photo, side_px, Image.Resampling.BICUBIC)
    own = _resized(dehalo(photo, *halo), side_px, Image.Resampling.BICUBIC)
    taught = _resized(answer, side_px, Image.Resampling.LANCZOS)
    cells = undirected_texture(block_means(255 * (old @ _LUMA), 2), side_px / SIDE_PX)
    woods = enlarge_rows(enlarge_columns(cells, _CELL_PX), _CELL_PX, 0, len(cells))[..., None]
    if crop.crispness:
        taught += (1 - woods) * (crispened(taught, crop.crispness) - taught)
    share = np.maximum(crop.own_texture_in_woods * woods, np.float32(crop.own_texture))
    return old, taught + share * (own - taught), woods


def crispened(picture: Float32Array, amount: float) -> Float32Array:
    """Sharpen edges without a halo: an unsharp mask that may not leave the range of the neighbouring pixels.

    A network that learns by L1 draws edges wider than it is taught; this takes it back.

    Args:
        picture: float32 [H, W, 3] of 0 to 1.
        amount: of the unsharp mask.

    Returns:
        float32 [H, W, 3]; each pixel's bands change by the same, and luminance lies within that of the 3 x 3 pixels
        around.
    """
    luma = torch.from_numpy((picture @ _LUMA)[None, None])
    around = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    smooth = F.conv2d(around, torch.outer(_TENT, _TENT)[None, None])
    highest, lowest = F.max_pool2d(around, 3, 1), -F.max_pool2d(-around, 3, 1)
    change = (luma + amount * (luma - smooth)).clamp(lowest, highest) - luma
    crisp: Float32Array = picture + change[0, 0, :, :, None].numpy()
    return crisp


def _resized(rgb: UInt8Array, side_px: int, method: Image.Resampling) -> Float32Array:
    picture = Image.fromarray(rgb).resize((side_px, side_px), method)
    return np.asarray(picture, np.float32) / np.float32(255)


def _window(side_px: int, wanted_px: int, rng: np.random.Generator) -> tuple[slice, slice]:
    room = side_px - wanted_px - 2 * _BORDER_PX
    y, x = (_BORDER_PX + int(rng.integers(room + 1)) for _ in range(2))
    return slice(y, y + wanted_px), slice(x, x + wanted_px)


def _recoloured(
    old: Float32Array, wanted: Float32Array, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Both in grey, or both with more or less colour, now and then: photographs differ in that."""
    draw = rng.random()
    if draw >= _GREY + _COLOURED:
        return old, wanted
    factor = np.float32(0 if draw < _GREY else rng.uniform(0.5, 1.3))
    return _with_colour(old, factor), _with_colour(wanted, factor)


def _with_colour(picture: Float32Array, factor: np.float32) -> Float32Array:
    """float32 [H, W, 3] with so many times its chroma."""
    grey: Float32Array = (picture @ _LUMA)[..., None]
    changed: Float32Array = (picture - grey) * factor
    changed += grey
    return changed


def _tensor(plane: Float32Array, turn: int, mirror: bool) -> Tensor:
    turned = np.rot90(plane[:, ::-1] if mirror else plane, turn)
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
