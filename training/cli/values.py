"""Options that say how the values of a photograph's file are read."""

from __future__ import annotations

import math
from typing import Literal

import click


def bands(text: str) -> tuple[int, ...]:
    """`3,2,1` to (3, 2, 1)."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        raise click.BadParameter(f"{text!r} is neither three bands such as 3,2,1 nor one, counted from 1")
    return numbers


def rescale(text: str) -> tuple[float, float] | Literal["auto"]:
    """`0,2047` to (0, 2047); `auto` stays."""
    if text == "auto":
        return "auto"
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise click.BadParameter(f"{text!r} is neither auto nor two growing numbers such as 0,2047")
    return low, high


def nodata(text: str) -> float | Literal["none"]:
    """`255` to 255.0; `none` stays."""
    if text == "none":
        return "none"
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor none") from None
