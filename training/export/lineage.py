"""The lineage of a run for spec, model card and STAC item: photographs by name and digest, without paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from training.data.manifest import Bounds, Chip, read_manifest, read_site
from training.data.taught import read_record
from training.errors import RunError

# Of the run's configuration; `lineage` names them in its own way.
_SOURCES: Final = ("pairs", "degrade", "crops", "refined")
_DECIMALS: Final = 6


def lineage(config: Mapping[str, Any]) -> dict[str, Any]:
    """The `training` of a spec: photographs, pictures that were aged, every choice, and what `refine` taught.

    Args:
        config: what `fit` wrote into the run's folder; its pairs are where they were.

    Raises:
        DatasetError: its pairs are gone.
    """
    # A folder that is named several times is seen several times as often.
    refined = config.get("refined", ())
    named = [*config["pairs"], *(folder for lesson in refined for folder in lesson["pairs"])]
    folders = dict.fromkeys(map(Path, named))
    return {
        "photographs": [_photographs(folder) for folder in folders],
        "aged": [Path(source).name for source in config["degrade"]],
        "choices": {key: _nameless(value) for key, value in config.items() if key not in _SOURCES},
        **(
            {"taught": [read_record(Path(folder)) for folder in config["crops"]]}
            if config.get("crops")
            else {}
        ),
        **({"refined": _nameless(refined)} if refined else {}),
    }


def _photographs(folder: Path) -> dict[str, Any]:
    site = read_site(folder)
    train = [chip for chip in read_manifest(folder) if chip.split == "train"]
    step_px = min(site.get("step_px", site["size_px"]), site["size_px"])
    return {
        "old": site["old"],
        "new": site["new"],
        "old_sha256": train[0].old_sha256 if train else "",
        "new_sha256": train[0].new_sha256 if train else "",
        "old_gsd_m": site["old_gsd_m"],
        "chips": len(train),
        "area_km2": round(len(train) * (step_px * site["gsd_m"]) ** 2 / 1e6, 3),
        "bounds_wgs84": _ground(site, train),
    }


def _ground(site: Mapping[str, Any], chips: list[Chip]) -> Bounds | None:
    """West, south, east, north of the training chips."""
    if not chips:
        return None
    lows = (min(chip.bounds[axis] for chip in chips) for axis in (0, 1))
    highs = (max(chip.bounds[axis] for chip in chips) for axis in (2, 3))
    degrees = transform_bounds(CRS.from_user_input(site["crs"]), "EPSG:4326", *lows, *highs)
    west, south, east, north = (round(float(value), _DECIMALS) for value in degrees)
    return west, south, east, north


def _nameless(value: Any) -> Any:
    """Reduce paths to their last parts: the folders above are private."""
    if isinstance(value, str):
        return Path(value).name if value else value
    if isinstance(value, Mapping):
        return {key: _nameless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nameless(item) for item in value]
    return value


def read_scores(path: Path, digest: str) -> dict[str, Any]:
    """The `metrics` of a spec: what `evaluate --json` wrote about these very weights.

    Args:
        path: the JSON file.
        digest: of the run's weights.

    Raises:
        RunError: no such file, or the scores are of other weights.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        measured = document["model"]["digest"]
        metrics = {"intervals": document["intervals"], "scores": document["scores"]}
        metrics |= {"judge": document["judge"]} if "judge" in document else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"--scores {path.name} was not written by `orthosharp-train evaluate --json`: write it again"
        ) from error
    if measured != digest:
        raise RunError(
            f"--scores {path.name} is of weights {measured[:12]}, and these are {digest[:12]}: "
            "evaluate the file of the run that is exported (--take)"
        )
    return metrics
