"""Which photographs of a command line are years of the same ground, and not sheets of one mosaic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from tileserver.archives.suffixes import MBTILES, PMTILES
from tileserver.errors import SettingsError
from tileserver.photo.inputs.formats import RASTERS
from tileserver.photo.inputs.years import year_in, year_of
from tileserver.tiling.grid import BBox

# Sheets of a mosaic overlap by a rim; photographs of the same ground by most of it.
_MOST: Final = 0.5
MOST_YEARS: Final = 60


def split_years(source: str | Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Return the settings that tell apart the maps of several years, by the map's name; None for a single map.

    Several sources are years if each has one of its own, in its name or its tags, and if they show the same ground. A
    folder is an archive of years if it contains nothing but folders, each with a year in its name, or one photograph
    for each year. Several archives of `seed` are maps in any case.

    Raises:
        SettingsError: there are more years than a page can show.
    """
    given = [source] if isinstance(source, str) else list(source)
    if len(given) == 1:
        given = _in_folder(Path(given[0]))
    if len(given) < 2:
        return None
    years = [year_of(one) for one in given]
    known = [year for year in years if year is not None]
    are_years = len(known) == len(given) == len(set(known))
    if all(one.lower().endswith((MBTILES, PMTILES)) for one in given):
        names = [str(year) for year in known] if are_years else _slugs(given)
    elif are_years and _show_the_same(given):
        names = [str(year) for year in known]
    else:
        return None
    if len(given) > MOST_YEARS:
        raise SettingsError(f"{len(given)} maps are more than a page can show: serve {MOST_YEARS} at most")
    maps = {
        name: {"source": one, **({"year": year} if year else {})}
        for name, one, year in zip(names, given, years, strict=True)
    }
    return dict(sorted(maps.items()))


def _in_folder(folder: Path) -> list[str]:
    """Return the mosaics or photographs of a folder of years; empty if it is something else."""
    if not folder.is_dir():
        return []
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in inside if path.is_dir()]
    files = [path for path in inside if path.suffix.lower() in (*RASTERS, ".vrt", MBTILES, PMTILES)]
    found = files if files else folders
    return [str(path) for path in found] if all(year_in(path.stem) for path in found) else []


def _show_the_same(sources: Sequence[str]) -> bool:
    """Return whether photographs overlap by most of the smaller one; folders of sheets, and services, are believed."""
    bounds = [_bounds(one) for one in sources]
    return all(
        one is None or other is None or _overlap(one, other) >= _MOST
        for one, other in combinations(bounds, 2)
    )


def _bounds(path: str) -> BBox | None:
    if not Path(path).is_file():
        return None
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.warp import transform_bounds

    from tileserver.photo.pixel_size import WGS84

    try:
        with rasterio.open(path) as dataset:
            if dataset.crs is None:
                return BBox(*dataset.bounds)
            return BBox(*transform_bounds(dataset.crs, WGS84, *dataset.bounds, densify_pts=21))
    except (RasterioError, ValueError):
        return None  # reported when it is opened as a photograph


def _overlap(one: BBox, other: BBox) -> float:
    shared = one.intersection(other)
    if shared is None:
        return 0.0
    return shared.width * shared.height / min(one.width * one.height, other.width * other.height)


def _slugs(paths: Sequence[str]) -> list[str]:
    """Return a name for each archive, made of its file name; numbered where two would be the same."""
    found: list[str] = []
    for path in paths:
        slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:30] or "map"
        found.append(slug if slug not in found else f"{slug}-{len(found) + 1}")
    return found
