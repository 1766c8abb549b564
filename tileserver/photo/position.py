"""How exactly PROJ knows where a photograph lies: the coordinate operation it chose, and what a better one needs.

PROJ takes the best operation that its data allow. Where a shift grid is missing, it falls back in silence to one that
is metres off, and where a CRS has no datum, to none at all (a *ballpark* operation, off by more than 100 m in some
countries).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyproj
from affine import Affine
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup
from rasterio.crs import CRS
from rasterio.warp import transform

from tileserver.errors import SourceError
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import WGS84
from tileserver.tiling.grid import BBox

# A place that is worse known than this many of the photograph's pixels is worth a warning.
WORST_PX: Final = 2.0
# Two libraries compute one operation to much less than this; different operations differ by more.
_SAME_M: Final = 0.02
_METRES_PER_DEGREE: Final = 111_320.0
# Half a side, in degrees, of the area that operations are asked for.
_AROUND: Final = 0.01
# Levels at which PROJ says how near two CRSs come.
_CONFIDENCES: Final = (100, 90, 70, 50, 25)
_OTHER_AXES: Final = re.compile(r"\((?:z?E-N|N-E|z?E-z?N)\)")
# No photograph has pixels of a millimetre.
_SMALLEST_PIXEL: Final = 1e-3
_SYNC: Final = "pyproj sync --file {grid}"


@dataclass(frozen=True)
class BetterOperation:
    """A better operation that lacks shift grids.

    Attributes:
        accuracy_m: its accuracy.
        files: names of the grids.
    """

    accuracy_m: float
    files: tuple[str, ...]


@dataclass(frozen=True)
class Position:
    """How a CRS is related to WGS 84 at a place.

    Attributes:
        operation: name of the operation that is used.
        accuracy_m: its accuracy in metres, 0 if there is no change of datum, None if unknown.
        is_ballpark: whether the datums are taken for equal because PROJ does not know better.
        is_convention: whether the datums are taken for equal by convention, as NAD83 and WGS 84 are on web maps.
        better: operations that would be more accurate but lack grids, the most local first.
        is_outside: whether the place is outside of the CRS's area of use.
        area: name of that area; may be empty.
        like: code of a CRS that is the same but for its datum; may be empty.
    """

    operation: str
    accuracy_m: float | None
    is_ballpark: bool
    is_convention: bool
    better: tuple[BetterOperation, ...]
    is_outside: bool
    area: str
    like: str

    @property
    def key(self) -> str:
        """The operation, for a digest of what decides pixels; empty where there is no change of datum."""
        return "" if self.accuracy_m == 0 or self.is_convention else f" operation {self.operation}"

    def is_worse_than(self, limit_m: float) -> bool:
        """Return whether the place may be wrong by more than so many metres."""
        if self.is_ballpark or self.is_outside:
            return True
        return not self.is_convention and self.accuracy_m is not None and self.accuracy_m > limit_m

    def describe(self) -> str:
        """Return the accuracy in words."""
        if self.is_ballpark:
            return "unknown: PROJ has no datum for it"
        if self.accuracy_m is None:
            return f"unknown ({self.operation})"
        if self.accuracy_m == 0:
            return "exact: its datum is WGS 84"
        note = ", taken as WGS 84 as on all web maps" if self.is_convention else ""
        return f"about {self.accuracy_m:.3g} m ({self.operation}{note})"

    def notices(self, gsd_m: float, given: str = "FILE") -> Iterator[Notice]:
        """Yield what to warn of.

        Args:
            gsd_m: size of the photograph's pixels.
            given: what the user calls the photograph, as a shell takes it.
        """
        if self.is_outside:
            yield Notice(
                "outside-area-of-use",
                f"the photograph lies outside of the area that its CRS is made for ({self.area}): its coordinates or "
                "its CRS are wrong. Name the right CRS with --crs EPSG:CODE",
            )
        elif self.is_ballpark:
            mended = (
                f"orthosharp info {given} --crs {self.like}"
                if self.like and not self.better
                else self._sync()
            )
            yield Notice("position-unknown", self._ballpark(), mended)
        elif self.is_worse_than(WORST_PX * gsd_m):
            assert self.accuracy_m is not None
            pixels = self.accuracy_m / gsd_m
            yield Notice(
                "position-inaccurate",
                f"the photograph lies within about {self.accuracy_m:.3g} m of its place ({pixels:.0f} of its pixels), "
                f"by the operation {self.operation!r}. {self._remedy()}",
                self._sync(),
            )

    def _ballpark(self) -> str:
        if self.better:
            return f"PROJ lacks every operation from the photograph's datum to WGS 84. {self._remedy()}"
        way_out = f"--crs {self.like}" if self.like else "--crs EPSG:CODE"
        return (
            "the photograph's CRS has no datum that PROJ can relate to WGS 84, so its place may be wrong by up to some "
            f"hundred metres. Name its full CRS with {way_out}"
        )

    def _remedy(self) -> str:
        if not self.better:
            return "PROJ knows no better one here"
        options = " or ".join(
            f"{' and '.join(one.files)} ({one.accuracy_m:.3g} m)" for one in self.better[:3]
        )
        return (
            f"A better one lacks the grid {options}. Get it with: {self._sync()} -- or set PROJ_NETWORK=ON, or name "
            "the folder that it is in as PROJ_DATA (Debian's package proj-data: PROJ_DATA=/usr/share/proj)"
        )

    def _sync(self) -> str:
        files = self.better[0].files if self.better else ()
        return " && ".join(_SYNC.format(grid=file) for file in files)


def find_position(crs: CRS, bounds: BBox, bounds_lonlat: BBox) -> Position:
    """Find out which operation PROJ uses from a CRS to WGS 84 at the centre of a photograph.

    Args:
        crs: horizontal CRS of the photograph.
        bounds: the photograph in units of `crs`.
        bounds_lonlat: the same in degrees.
    """
    own = pyproj.CRS.from_wkt(crs.to_wkt())
    x, y = bounds.centre
    (longitude,), (latitude,) = transform(crs, WGS84, [x], [y])[:2]
    known = _nearest_known(own, bounds_lonlat)
    area = known.area_of_use if known is not None else None
    outside = area is not None and not _touches(area, bounds_lonlat)
    group = _operations(own, longitude, latitude)
    chosen = _chosen(group.transformers if group else (), (x, y), (longitude, latitude))
    steps = _changes_of_datum(chosen) if chosen else []
    ballpark = group is None or any(step.has_ballpark_transformation for step in steps)
    accuracy = _accuracy_m(chosen, steps) if not ballpark else None
    like = ""
    if ballpark and known is not None and own.to_authority(min_confidence=100) is None:
        like = ":".join(known.to_authority() or ())
    return Position(
        operation=" + ".join(step.name for step in steps) or "no change of datum",
        accuracy_m=accuracy,
        is_ballpark=ballpark,
        is_convention=bool(steps) and not ballpark and all(_is_null(step) for step in steps),
        better=tuple(_better(group, accuracy, (longitude, latitude))) if group else (),
        is_outside=outside,
        area=area.name.rstrip(".") if area else "",
        like=like,
    )


def check_position(name: str, position: Position, gsd_m: float, inaccurate: str) -> None:
    """Refuse a photograph whose place is not known well enough, if that is wanted.

    Raises:
        SourceError: `inaccurate` is "refuse", and the place is worse known than two pixels.
    """
    if inaccurate == "refuse" and position.is_worse_than(WORST_PX * gsd_m):
        reasons = " ".join(position.notices(gsd_m))
        raise SourceError(f"{name} is refused, as --inaccurate refuse asks: {reasons}")


def check_units(path: str, crs: CRS, bounds: BBox, matrix: Affine) -> None:
    """Refuse coordinates that cannot be in the units of a CRS: metres in one of degrees, or the other way round.

    Args:
        path: of the photograph, for messages.
        crs: its CRS.
        bounds: its coordinates.
        matrix: from its pixels to them.

    Raises:
        SourceError: they cannot.
    """
    code = ":".join(crs.to_authority() or ("its CRS",))
    corner = f"({bounds.left:.12g}, {bounds.bottom:.12g})"
    if crs.is_geographic and (max(abs(bounds.bottom), abs(bounds.top)) > 90.01 or abs(bounds.left) > 360):
        raise SourceError(
            f"{path} has coordinates such as {corner}, which are not degrees, as in {code}: name the projected "
            "CRS that they are in with --crs EPSG:CODE"
        )
    tiny = math.hypot(matrix.a, matrix.d) < _SMALLEST_PIXEL
    if crs.is_projected and tiny and max(map(abs, bounds)) <= 180 and abs(bounds.top) <= 90:
        raise SourceError(
            f"{path} has coordinates such as {corner}, which look like degrees and not like those of {code}: name the "
            "CRS that they are in, such as --crs EPSG:4326"
        )


def _operations(own: pyproj.CRS, longitude: float, latitude: float) -> TransformerGroup | None:
    """The operations to WGS 84 that PROJ knows for a place, the best first; None if there are none."""
    try:
        around = AreaOfInterest(
            max(longitude - _AROUND, -180.0),
            max(latitude - _AROUND, -90.0),
            min(longitude + _AROUND, 180.0),
            min(latitude + _AROUND, 90.0),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of missing grids, which are told of here
            wgs84 = pyproj.CRS.from_epsg(4326)
            # pyproj's stub names another class of the same name.
            return TransformerGroup(own, wgs84, always_xy=True, area_of_interest=around)  # type: ignore[arg-type]
    except ProjError:
        return None


def _nearest_known(own: pyproj.CRS, place: BBox) -> pyproj.CRS | None:
    """The CRS of a register that this one is, or comes nearest to; of several, the one that is common at a place."""
    exact = own.to_authority(min_confidence=100)
    alike = own if exact or own.to_authority(min_confidence=25) else _without_names(own)
    codes = [exact] if exact else [*_codes(alike), *_codes(_with_axes_swapped(alike))]
    try:
        found = [pyproj.CRS.from_authority(*code) for code in codes]
    except ProjError:
        return None
    return min(found, key=lambda crs: _rareness(crs, place), default=None)


def _codes(crs: pyproj.CRS) -> list[Any]:
    """Codes of the CRSs of EPSG that come nearest to one, the one that PROJ prefers first."""
    first = crs.to_authority("EPSG", min_confidence=25)
    for confidence in _CONFIDENCES if first else ():
        alike = [(one.auth_name, one.code) for one in crs.list_authority("EPSG", min_confidence=confidence)]
        if alike:
            return [first, *(code for code in alike if code != first)]
    return [first] if first else []


def _rareness(crs: pyproj.CRS, place: BBox) -> tuple[bool, bool, float]:
    """How unlikely a CRS is meant: another order of axes than in its country, other ground, a small area."""
    area = crs.area_of_use
    if area is None:
        return (_OTHER_AXES.search(crs.name) is not None, True, 0.0)
    size = ((area.east - area.west) % 360) * (area.north - area.south)
    return (_OTHER_AXES.search(crs.name) is not None, not _touches(area, place), -size)


def _with_axes_swapped(own: pyproj.CRS) -> pyproj.CRS:
    """The same CRS with its axes in the other order, in which many registers have national ones."""
    document = own.to_json_dict()
    if not own.is_projected or "coordinate_system" not in document:
        return own
    document["coordinate_system"]["axis"].reverse()
    try:
        return pyproj.CRS.from_json_dict(document)
    except ProjError:
        return own


def _without_names(own: pyproj.CRS) -> pyproj.CRS:
    """The same CRS with the names that PROJ takes for unknown: made-up ones keep it from comparing the rest."""
    document = own.to_json_dict()
    base = document.get("base_crs", document)
    datum = base.get("datum")
    if not isinstance(datum, dict) or "ellipsoid" not in datum:
        return own
    document["name"] = base["name"] = "unknown"
    datum["name"] = f"Unknown based on {datum['ellipsoid'].get('name')} ellipsoid"
    try:
        return pyproj.CRS.from_json_dict(document)
    except ProjError:
        return own


def _touches(area: Any, bounds: BBox) -> bool:
    """Return whether a photograph lies at least partly in an area of use."""
    if not area.south <= bounds.top or not bounds.bottom <= area.north:
        return False
    if area.west <= area.east:
        return bool(area.west <= bounds.right and bounds.left <= area.east)
    return bool(bounds.right >= area.west or bounds.left <= area.east)  # across the antimeridian


def _changes_of_datum(transformer: pyproj.Transformer) -> list[Any]:
    """The steps of an operation that are not projections or changes of axes."""
    return [step for step in transformer.operations or () if step.type_name == "Transformation"]


def _accuracy_m(chosen: pyproj.Transformer | None, steps: list[Any]) -> float | None:
    if chosen is None:
        return None
    if not steps:
        return 0.0
    return chosen.accuracy if chosen.accuracy >= 0 else None


def _is_null(step: Any) -> bool:
    return all(parameter.value == 0 for parameter in step.params) and not step.grids


def _chosen(
    candidates: Sequence[pyproj.Transformer], place: tuple[float, float], lonlat: tuple[float, float]
) -> pyproj.Transformer | None:
    """The first operation that gives what rasterio's PROJ gives at this place."""
    for candidate in candidates:
        try:
            longitude, latitude = candidate.transform(*place)
        except ProjError:
            continue
        if not (math.isfinite(longitude) and math.isfinite(latitude)):
            continue
        east = (longitude - lonlat[0]) * math.cos(math.radians(latitude))
        if math.hypot(east, latitude - lonlat[1]) * _METRES_PER_DEGREE < _SAME_M:
            return candidate
    return None


def _better(
    group: TransformerGroup, accuracy_m: float | None, lonlat: tuple[float, float]
) -> Iterator[BetterOperation]:
    """Operations that lack grids and would be more accurate here, the most local first."""
    found = []
    for operation in group.unavailable_operations:
        files = tuple(grid.short_name for grid in operation.grids if not grid.available)
        if (
            not files
            or operation.accuracy < 0
            or (accuracy_m is not None and operation.accuracy >= accuracy_m)
        ):
            continue
        area = operation.area_of_use
        point = BBox(*lonlat, *lonlat)
        if area is not None and not _touches(area, point):
            continue
        width = 360.0 if area is None else (area.east - area.west) % 360
        height = 180.0 if area is None else area.north - area.south
        found.append((width * height, operation.accuracy, files))
    seen = set()
    for _, accuracy, files in sorted(found):
        if files not in seen:
            seen.add(files)
            yield BetterOperation(accuracy, files)
