"""Types of settings whose values have a syntax of their own: parsed from flags, environment and TOML alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationError, WrapValidator

from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import LAYERS

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")
_OUTSIDE: Final = re.compile(rf"(?:(?:{'|'.join(LAYERS)})=)?(?:404|204|transparent)")
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def _split(value: Any) -> Any:
    """'4,1,2' as ('4', '1', '2'); anything but text is left alone."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _numbers(expected: str, is_valid: Callable[[Any], bool], *words: str) -> WrapValidator:
    """Accept numbers or their text, such as '4,1,2', or one of the words; one message covers all mistakes."""

    def validate(value: Any, parse: Callable[[Any], Any]) -> Any:
        if isinstance(value, str) and value in words:
            return value
        try:
            numbers = parse(_split(value))
        except ValidationError:
            numbers = None
        if numbers is None or not is_valid(numbers):
            raise ValueError(f"{value!r} is not {expected}")
        return numbers

    return WrapValidator(validate)


def one_or_more(value: Any) -> Any:
    """Several paths as a tuple; a single one as text."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        return value[0] if len(value) == 1 else tuple(value)
    return value


def _check_origin(origin: str) -> str:
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"{origin!r} is not an origin: give scheme and host without a path, such as https://map.example, "
            "or * for all"
        )
    return origin


def _check_ancestor(origin: str) -> str:
    return origin if origin in ("self", "none") else _check_origin(origin)


def _check_outside(rule: str) -> str:
    if not _OUTSIDE.fullmatch(rule):
        raise ValueError(f"{rule!r} is neither 404, 204 or transparent, nor LAYER=ANSWER, such as old=404")
    return rule


def _check_geocoder(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/[^\s'\";]*", value) or "{query}" not in value:
        raise ValueError(
            "not the address of a geocoder: give it with {query}, such as "
            "https://geocoder.example/search?format=json&q={query}"
        )
    return value


def _check_root_path(path: str) -> str:
    path = path.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise ValueError(f"{path!r} is not the beginning of a path: give one such as /maps")
    return path


def _is_on_earth(bbox: BBox) -> bool:
    return -180 <= bbox[0] < bbox[2] <= 180 and -90 <= bbox[1] < bbox[3] <= 90


def _halo(value: Any, parse: Callable[[Any], Any]) -> Any:
    if value in ("off", "auto"):
        return value
    try:
        amount, radius_px = (float(part) for part in _split(value))
    except (TypeError, ValueError):
        amount = radius_px = -1.0
    if not (0 < amount <= 3 and 0.3 <= radius_px <= 3):
        raise ValueError(
            f"{value!r} is neither off, auto, nor AMOUNT,RADIUS (up to 3, and 0.3 to 3 of the photograph's pixels), "
            "such as 0.7,1.2"
        )
    return parse((amount, radius_px))


Bands = Annotated[
    tuple[int, ...],
    _numbers(
        "one band (grey) or three (red, green, blue), counted from 1, such as 4,1,2",
        lambda bands: len(bands) in (1, 3) and min(bands) >= 1,
    ),
]
Rescale = Annotated[
    tuple[float, float] | Literal["auto"],
    _numbers(
        "auto or MIN,MAX with MIN below MAX, such as 0,4095",
        lambda pair: all(map(math.isfinite, pair)) and pair[0] < pair[1],
        "auto",
    ),
]
Nodata = Annotated[
    tuple[float, ...] | Literal["auto", "none"],
    _numbers(
        "auto, none, VALUE or VALUE,TOLERANCE, such as 0 or 255,8",
        lambda given: (
            len(given) == 1 or (len(given) == 2 and math.isfinite(given[0]) and 0 <= given[1] < math.inf)
        ),
        "auto",
        "none",
    ),
]
Halo = Annotated[
    tuple[float, float] | Literal["off", "auto"],
    WrapValidator(_halo),
]
Bounds = Annotated[
    BBox, _numbers("WEST,SOUTH,EAST,NORTH in degrees, such as -73.55,42.38,-73.52,42.40", _is_on_earth)
]
Zooms = Annotated[
    tuple[int, int], _numbers("FIRST,LAST, such as 12,19", lambda pair: 0 <= pair[0] <= pair[1])
]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_check_origin)], ...], BeforeValidator(_split)]
Ancestors = Annotated[tuple[Annotated[str, AfterValidator(_check_ancestor)], ...], BeforeValidator(_split)]
Geocoder = Annotated[str, AfterValidator(_check_geocoder)]
RootPath = Annotated[str, AfterValidator(_check_root_path)]
OutsideRules = Annotated[
    tuple[Annotated[str, AfterValidator(_check_outside)], ...],
    # A bare 404 is a number in orthosharp.toml.
    BeforeValidator(lambda given: _split(str(given) if isinstance(given, int) else given)),
]
