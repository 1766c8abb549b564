"""Pictures of the same ground made by other methods, read where the chips are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from training.data.dataset import Pair
from training.data.manifest import Chip
from training.errors import BaselineError
from training.measure.metrics import structure_kept
from training.pairs.grid import ground_of, open_photo
from training.pairs.photo import Photo
from training.pairs.reading import check_bytes

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

# Of a chip; a rounded edge may lack a row.
_MOST_MISSING: Final = 0.01
# Chips on which the two places are tried.
_TRIED: Final = 8
_TAKEN: Final = {"bicubic", "unsharp mask", "orthosharp", "new photo"}


def baseline_names(baselines: Sequence[Path]) -> dict[str, Path]:
    """Return the names of baselines in tables: their files' names without the endings.

    Raises:
        BaselineError: two have one name, or it is that of another row.
    """
    names: dict[str, Path] = {}
    for path in baselines:
        if path.stem in names or path.stem in _TAKEN:
            raise BaselineError(
                f"--baseline {path.name}: another row is called {path.stem!r} too; rename the file"
            )
        names[path.stem] = path
    return names


def check_baselines(
    baselines: Sequence[Path], sites: Sequence[tuple[dict[str, Any], Sequence[Chip]]]
) -> None:
    """Refuse what cannot be compared, before any work.

    Args:
        baselines: georeferenced pictures.
        sites: of each folder of pairs, the common properties of its chips and the chips that are scored.

    Raises:
        BaselineError: no picture with a place on the ground, or one that shows no chip.
    """
    for path in baselines:
        with open_photo(path) as source:
            check_bytes(path, source)
            if not any(_covers(source, site, chips) for site, chips in sites):
                raise BaselineError(
                    f"{path.name} shows none of the validation chips: name a picture of the same ground "
                    "(compare both with gdalinfo)"
                )


def _covers(source: Any, site: dict[str, Any], chips: Sequence[Chip]) -> bool:
    """Whether a picture's bounds meet those of any chip."""
    left, bottom, right, top = transform_bounds(
        source.crs, CRS.from_user_input(site["crs"]), *ground_of(source)
    )
    return any(
        chip.bounds[0] < right and chip.bounds[2] > left and chip.bounds[1] < top and chip.bounds[3] > bottom
        for chip in chips
    )


def read_baseline(
    path: Path, site: dict[str, Any], chips: Sequence[Chip], pairs: Sequence[Pair]
) -> list[UInt8Array] | None:
    """A baseline's picture of every chip, on the chips' grid by cubic convolution.

    A picture made from the old photo lies where that lies, one made from the chips where the new photo lies: of the
    two places, which differ by the shift that registration found, that which fits the old chips better is taken.

    Args:
        path: of the baseline.
        site: the common properties of the chips.
        chips: those that are scored.
        pairs: their pictures.

    Returns:
        uint8 [size, size, 3] per chip, or None where the baseline shows another site.

    Raises:
        BaselineError: it shows some of the chips and not all.
    """
    with open_photo(path) as source:
        if not _covers(source, site, chips):
            return None
    with Photo(path, CRS.from_user_input(site["crs"])) as photo:
        moved = _lies_as_the_old(photo, site, chips, pairs)
        pictures = []
        for chip, pair in zip(chips, pairs, strict=True):
            rgb, valid = _read(photo, chip, pair, moved)
            if (~valid).mean() > _MOST_MISSING:
                raise BaselineError(
                    f"{path.name} lacks part of chip {chip.name}, and a baseline is scored on all {len(chips)} "
                    "validation chips of a site: name a picture of the whole block"
                )
            pictures.append(rgb)
    return pictures


def _lies_as_the_old(
    photo: Photo, site: dict[str, Any], chips: Sequence[Chip], pairs: Sequence[Pair]
) -> bool:
    """Whether a spread sample of the old chips is met better in the old photo's place than in the new one's."""
    ratio = site["old_gsd_m"] / site["gsd_m"]
    tried = sorted({round(i) for i in np.linspace(0, len(chips) - 1, _TRIED)})
    in_new_place, in_old_place = (
        np.mean(
            [structure_kept(_read(photo, chips[i], pairs[i], moved)[0], pairs[i].old, ratio) for i in tried]
        )
        for moved in (False, True)
    )
    return bool(in_old_place > in_new_place)


def _read(photo: Photo, chip: Chip, pair: Pair, moved: bool) -> tuple[UInt8Array, BoolArray]:
    side_px = pair.old.shape[0]
    return photo.read(_window(chip, side_px, moved), side_px)


def _window(chip: Chip, side_px: int, moved: bool) -> Affine:
    """Geotransform of a chip, at its bounds or moved and sheared to where its ground lies in the old photo."""
    left, bottom, right, top = chip.bounds
    to_ground = Affine((right - left) / side_px, 0, left, 0, (bottom - top) / side_px, top)
    if not moved:
        return to_ground
    xx, xy, yx, yy = chip.warp
    to_centre = Affine.translation(side_px / 2 + chip.dx_px, side_px / 2 + chip.dy_px)
    return (
        to_ground
        @ to_centre
        @ Affine(1 + xx, xy, 0, yx, 1 + yy, 0)
        @ Affine.translation(-side_px / 2, -side_px / 2)
    )
