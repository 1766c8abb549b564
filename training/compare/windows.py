"""Windows that every candidate shows, drawn by kind of ground."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rasterio.transform import Affine

from training.compare.ground import KINDS, Kind, kind_of
from training.errors import ComparisonError, PairError
from training.pairs.grid import open_photo
from training.pairs.photo import Photo
from training.pairs.reading import check_bytes

UInt8Array = npt.NDArray[np.uint8]

WINDOW_PX: Final = 256
BICUBIC: Final = "bicubic"
NEW: Final = "new"
# Share of a window that may lack pixels, and the value up to which all bands are taken for a collar without a tag.
_MOST_MISSING: Final = 0.02
_BLACK: Final = 3
# Windows that are looked at for each sheet.
_TRIED: Final = 40
# Of the sheets: roofs and roads are what people look at first.
_SHARES: Final[Mapping[Kind, float]] = {"built": 0.5, "woods": 0.25, "fields": 0.25}


@dataclass(frozen=True, eq=False)
class ComparedWindow:
    """One window of ground.

    Attributes:
        column, row: of its upper left pixel in the new photo.
        kind: of ground.
        pictures: by candidate, uint8 [256, 256, 3].
    """

    column: int
    row: int
    kind: Kind
    pictures: Mapping[str, UInt8Array]


def candidates(old: Path, new: Path, pictures: tuple[Path, ...]) -> dict[str, Path]:
    """Every way to make the picture by its name: the old photo, the new one, and the files by theirs.

    Raises:
        ComparisonError: two have one name.
        PairError: one is not a georeferenced picture in bytes.
    """
    named = {BICUBIC: old, NEW: new}
    for path in pictures:
        if path.stem in named:
            raise ComparisonError(f"two candidates would be called {path.stem!r}: rename {path.name}")
        named[path.stem] = path
    for path in named.values():
        with open_photo(path) as source:
            check_bytes(path, source)
    return named


def draw_windows(named: Mapping[str, Path], count: int, seed: int) -> list[ComparedWindow]:
    """Draw windows of the new photo's grid that all candidates show: half built, a quarter woods, a quarter fields.

    Where a kind is rare, the others take its place. The same files and seed give the same windows.

    Args:
        named: of `candidates`.
        count: how many windows.
        seed: of the draw.

    Raises:
        ComparisonError: no window is shown by all candidates.
    """
    wanted = _wanted(count)
    found: dict[Kind, list[ComparedWindow]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        with open_photo(named[NEW]) as new:
            transform, places, crs = new.transform, _places(new.height, new.width), new.crs
        photos = {name: stack.enter_context(Photo(path, crs)) for name, path in named.items()}
        drawn = random.Random(seed)  # noqa: S311 # a draw of places, no secret
        drawn.shuffle(places)
        for column, row in places[: _TRIED * count]:
            window = _read(photos, transform, column, row)
            if window and len(found[window.kind]) < count:
                found[window.kind].append(window)
            if all(len(found[kind]) >= wanted[kind] for kind in KINDS):
                break
    chosen = list(_filled(found, wanted, count))
    if not chosen:
        raise ComparisonError(
            f"no window of {WINDOW_PX} px is shown by all candidates: compare their bounds with gdalinfo"
        )
    drawn.shuffle(chosen)
    return chosen


def _wanted(count: int) -> dict[Kind, int]:
    wanted = {kind: int(count * share) for kind, share in _SHARES.items()}
    wanted["built"] += count - sum(wanted.values())
    return wanted


def _places(height: int, width: int) -> list[tuple[int, int]]:
    """Column and row of every window of the grid."""
    return [
        (column, row)
        for row in range(0, height - WINDOW_PX + 1, WINDOW_PX)
        for column in range(0, width - WINDOW_PX + 1, WINDOW_PX)
    ]


def _read(photos: Mapping[str, Photo], transform: Affine, column: int, row: int) -> ComparedWindow | None:
    """The window by every candidate; None where one of them lacks pixels."""
    place = transform @ Affine.translation(column, row)
    pictures: dict[str, UInt8Array] = {}
    for name in (NEW, *(name for name in photos if name != NEW)):
        try:
            rgb, valid = photos[name].read(place, WINDOW_PX)
        except PairError:  # damaged there: another window will do
            return None
        if (~valid | (rgb <= _BLACK).all(2)).mean() > _MOST_MISSING:
            return None
        pictures[name] = rgb
    return ComparedWindow(column, row, kind_of(pictures[NEW]), pictures)


def _filled(
    found: Mapping[Kind, list[ComparedWindow]], wanted: Mapping[Kind, int], count: int
) -> Iterator[ComparedWindow]:
    """The wanted windows of each kind, then spare ones of any kind."""
    spare = []
    missing = count
    for kind in KINDS:
        windows = found[kind]
        yield from windows[: wanted[kind]]
        missing -= len(windows[: wanted[kind]])
        spare += windows[wanted[kind] :]
    yield from spare[:missing]
