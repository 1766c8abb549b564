"""One HTML page about a folder of pairs, with its pictures inside: kept chips, and dropped ones with reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from training.data.manifest import Chip
from training.pages import data_url, render
from training.pairs.residual import residual_shift

REPORT: Final = "report.html"
# Chips on which the residual shift is measured once more: slow, and a sample tells.
_SAMPLE: Final = 60
_SHOWN: Final = 4
_MAP_PX: Final = 640
_BINS: Final = 24
_MOST_ARROWS: Final = 2500


@dataclass(frozen=True)
class Residual:
    """Shift left in training chips, in pixels, by a second method, see `training.pairs.residual`."""

    sampled: int
    answered: int
    median_px: float
    p90_px: float


@dataclass(frozen=True)
class _Bar:
    x: float
    height: float
    label: str


@dataclass(frozen=True)
class _Histogram:
    title: str
    bars: list[_Bar]
    least: str
    most: str
    mark: float | None
    mark_label: str


def measure_residual(folder: Path, chips: Sequence[Chip], softness: float) -> Residual:
    """Measure the shift left in a spread sample of the training chips.

    Args:
        folder: of the pairs.
        chips: of its manifest.
        softness: old pixel size over the chips'.
    """
    train = [chip for chip in chips if chip.split == "train"]
    sample = train[:: math.ceil(len(train) / _SAMPLE)] if train else []
    lengths = []
    for chip in sample:
        left = residual_shift(*_pictures(folder, chip), sigma_px=max(1.5, 0.75 * softness))
        if left:
            lengths.append(math.hypot(*left))
    if not lengths:
        return Residual(len(sample), 0, math.nan, math.nan)
    return Residual(len(sample), len(lengths), float(np.median(lengths)), float(np.quantile(lengths, 0.9)))


def pairs_report(folder: Path, chips: Sequence[Chip], site: dict[str, Any]) -> str:
    """The page as text; it needs no other file and no network.

    Args:
        folder: of the pairs, whose pictures it shows.
        chips: of its manifest, at least one.
        site: see `training.data.manifest`.
    """
    kept = [chip for chip in chips if chip.split == "train"]
    seen = [chip for chip in chips if (folder / "old" / f"{chip.name}.png").exists()]
    return render(
        "pairs.html",
        site=site,
        counts=Counter(chip.split for chip in chips),
        reasons=Counter(chip.reason for chip in chips if chip.reason).most_common(),
        kinds=sorted({_kind(chip) for chip in chips}),
        area_km2=len(kept) * (min(site["step_px"], site["size_px"]) * site["gsd_m"]) ** 2 / 1e6,
        residual=measure_residual(folder, chips, site["old_gsd_m"] / site["gsd_m"]),
        map=_map(chips, seen),
        median_shift_m=_median([math.hypot(chip.dx_px, chip.dy_px) for chip in kept]) * site["gsd_m"],
        histograms=_histograms(seen, site),
        shelves=_shelves(folder, seen),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _pictures(folder: Path, chip: Chip) -> tuple[Any, Any]:
    old, new = (
        np.asarray(Image.open(folder / side / f"{chip.name}.png").convert("RGB")) for side in ("old", "new")
    )
    return old, new


def _kind(chip: Chip) -> str:
    """Return the group of a chip in the legend of the map."""
    return chip.reason if chip.split == "dropped" else chip.split


def _map(chips: Sequence[Chip], shifted: Sequence[Chip]) -> dict[str, Any]:
    """Squares of every chip and arrows of some, north up, the longer side `_MAP_PX`."""
    left, top = min(chip.bounds[0] for chip in chips), max(chip.bounds[3] for chip in chips)
    width = max(chip.bounds[2] for chip in chips) - left
    height = top - min(chip.bounds[1] for chip in chips)
    scale = _MAP_PX / max(width, height)
    side = (chips[0].bounds[2] - chips[0].bounds[0]) * scale
    squares = [
        {
            "x": round((chip.bounds[0] - left) * scale, 1),
            "y": round((top - chip.bounds[3]) * scale, 1),
            "kind": _kind(chip),
            "title": f"{chip.name}: {_kind(chip)}",
        }
        for chip in chips
    ]
    drawn = shifted[:: math.ceil(len(shifted) / _MOST_ARROWS)] if shifted else []
    longest = max((math.hypot(chip.dx_px, chip.dy_px) for chip in drawn), default=1.0)
    arrows = [
        {
            "x": round((chip.bounds[0] - left) * scale + side / 2, 1),
            "y": round((top - chip.bounds[3]) * scale + side / 2, 1),
            "dx": round(chip.dx_px * side / max(longest, 1e-6), 1),
            "dy": round(chip.dy_px * side / max(longest, 1e-6), 1),
            "sure": chip.split != "dropped",
        }
        for chip in drawn
    ]
    return {
        "width": round(width * scale),
        "height": round(height * scale),
        "side": round(side, 1),
        "squares": squares,
        "arrows": arrows,
        "longest_px": longest,
    }


def _histogram(title: str, values: Sequence[float], unit: str, mark: float | None, label: str) -> _Histogram:
    most = float(np.quantile(values, 0.99)) if len(values) else 1.0
    most = max(most, (mark or 0.0) * 1.1, 1e-6)
    counts, edges = np.histogram(np.clip(values, 0, most), bins=_BINS, range=(0, most))
    tallest = max(int(counts.max()), 1)
    bars = [
        _Bar(i / _BINS, float(count) / tallest, f"{edges[i]:.3g} to {edges[i + 1]:.3g} {unit}: {count} chips")
        for i, count in enumerate(counts)
    ]
    return _Histogram(title, bars, "0", f"{most:.3g} {unit}", None if mark is None else mark / most, label)


def _histograms(chips: Sequence[Chip], site: dict[str, Any]) -> list[_Histogram]:
    shifts = [math.hypot(chip.dx_px, chip.dy_px) * site["gsd_m"] for chip in chips]
    sure = site["min_confidence"]
    return [
        _histogram(
            "Change", [100 * chip.change for chip in chips], "%", 100 * site["change_limit"], "dropped above"
        ),
        _histogram("Shift that was found", shifts, "m", None, ""),
        _histogram("Confidence of the shift", [chip.confidence for chip in chips], "", sure, "dropped below"),
        _histogram("Shift still found after it", [chip.residual_px for chip in chips], "px", None, ""),
    ]


def _shelves(folder: Path, seen: Sequence[Chip]) -> list[dict[str, Any]]:
    """Pairs side by side: the best and the worst that are kept, and of every reason those most typical of it."""
    kept = sorted((chip for chip in seen if chip.split == "train"), key=lambda chip: chip.change)
    groups = [
        ("Kept: least changed", kept[:_SHOWN]),
        ("Kept: most changed", kept[_SHOWN:][-_SHOWN:][::-1]),
        ("Kept: least sure of their shift", sorted(kept, key=lambda chip: chip.confidence)[:_SHOWN]),
    ]
    for reason in sorted({chip.reason for chip in seen if chip.reason}):
        group = sorted((c for c in seen if c.reason == reason), key=lambda chip: -chip.change)
        groups.append((f"Dropped: {reason}", group[:_SHOWN]))
    return [
        {"title": title, "pairs": [_pair(folder, chip) for chip in group]} for title, group in groups if group
    ]


def _pair(folder: Path, chip: Chip) -> dict[str, Any]:
    old, new = _pictures(folder, chip)
    return {
        "name": chip.name,
        "old": data_url(old),
        "new": data_url(new),
        "facts": f"change {100 * chip.change:.1f} %, shift {chip.dx_px:+.1f} {chip.dy_px:+.1f} px, "
        f"confidence {chip.confidence:.1f}",
    }
