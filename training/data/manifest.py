"""The manifest of a folder of pairs: one JSON line per chip, and one file of common properties."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sr_model.atomic import write_atomic
from sr_model.spec import ModelSpec
from training.errors import DatasetError

Bounds = tuple[float, float, float, float]

MANIFEST: Final = "manifest.jsonl"
SITE: Final = "site.json"


@dataclass(frozen=True)
class Chip:
    """One line of the manifest.

    Attributes:
        name: of the files `old/NAME.png` and `new/NAME.png`.
        column, row: place in the grid of chips.
        bounds: left, bottom, right, top in the site's CRS.
        split: `train`, `validation` or `dropped`.
        dx_px, dy_px: where the chip's centre lies in the old photo, in pixels right and down of where it should.
        confidence: of that shift, see `training.measure.register`.
        change: 0 is the same ground, 1 is other ground, see `training.pairs.change`.
        reason: why it was dropped, empty where it was not.
        warp: how dx_px and dy_px grow per pixel: d(dx)/dx, d(dx)/dy, d(dy)/dx, d(dy)/dy.
        residual_px: shift that phase correlation still finds in the finished chip.
        old_sha256, new_sha256: of the photographs.
    """

    name: str
    column: int
    row: int
    bounds: Bounds
    split: str
    dx_px: float
    dy_px: float
    confidence: float
    change: float
    reason: str = ""
    warp: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    residual_px: float = 0.0
    old_sha256: str = ""
    new_sha256: str = ""


def write_manifest(folder: Path, chips: Sequence[Chip], site: dict[str, Any]) -> None:
    """Write both files, each whole or not at all."""
    lines = [json.dumps(asdict(chip), sort_keys=True) for chip in chips]
    write_atomic(folder / SITE, (json.dumps(site, indent=2) + "\n").encode())
    write_atomic(folder / MANIFEST, ("\n".join(lines) + "\n").encode())


def read_manifest(folder: Path) -> list[Chip]:
    """The chips of a folder that `make_pairs` wrote.

    Raises:
        DatasetError: the folder has no readable manifest.
    """
    try:
        lines = (folder / MANIFEST).read_text().splitlines()
        return [_chip(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{folder.name} holds no pairs: make them with `orthosharp-train pairs`"
        ) from error


def _chip(line: dict[str, Any]) -> Chip:
    lists = {name: tuple(value) for name, value in line.items() if isinstance(value, list)}
    return Chip(**(line | lists))


def read_site(folder: Path) -> dict[str, Any]:
    """Read the common properties of a folder's chips: crs, size_px, names of the photographs, and pixel sizes.

    Those are gsd_m of the chips, old_gsd_m of the old photograph and resolved_gsd_m, what that resolves; folders of
    0.1 lack the last.

    Raises:
        DatasetError: the folder has no readable site file.
    """
    try:
        site: dict[str, Any] = json.loads((folder / SITE).read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder.name} holds no pairs: make them with `orthosharp-train pairs`"
        ) from error
    return site


def ratio_of(site: dict[str, Any]) -> float:
    """What a site's old photograph resolves, its pixel or more where it is soft, over the pixel size of its chips."""
    return float(site.get("resolved_gsd_m", site["old_gsd_m"])) / float(site["gsd_m"])


def check_scale(folder: Path, site: dict[str, Any], spec: ModelSpec) -> None:
    """Refuse chips that weights have not learnt to restore: of other pixel sizes, or for relative ones other ratios.

    Raises:
        DatasetError: see `check_gsd`; or the ratio is one that the weights cannot draw.
    """
    if not spec.is_relative:
        check_gsd(folder, site, spec.gsd_range_m)
        return
    ratio, least = ratio_of(site), min(1.0, spec.ratio_range[0])
    if not least * 0.999 <= ratio <= spec.max_ratio * 1.001:
        raise DatasetError(
            f"the old photo of {folder.name} has pixels {ratio:.3g} times as large as the chips', and the weights "
            f"restore {least:.3g} to {spec.max_ratio:.3g} times: make the pairs with another --gsd, or take other "
            "weights"
        )


def check_gsd(folder: Path, site: dict[str, Any], gsd_range_m: tuple[float, float]) -> None:
    """Refuse chips whose pixels are none that a network is for.

    Args:
        folder: of the pairs.
        site: see `read_site`.
        gsd_range_m: pixel sizes that the network has seen, or shall see.

    Raises:
        DatasetError: theirs are not among them.
    """
    (low, high), gsd_m = gsd_range_m, float(site["gsd_m"])
    if not low * 0.999 <= gsd_m <= high * 1.001:
        raise DatasetError(
            f"{folder.name} has {gsd_m:.3g} m per pixel and the network is for {low:.3g} to {high:.3g} m: "
            "make the pairs with a --gsd in between, or take another network"
        )
