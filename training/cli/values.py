"""Options that say how the values of a photograph's file are read."""

from __future__ import annotations

import math
from typing import Any, Literal

import click


class _Bands(click.ParamType):
    name = "bands"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """`3,2,1` to (3, 2, 1)."""
        try:
            bands = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            bands = ()
        if len(bands) not in (1, 3) or min(bands) < 1:
            self.fail(f"{value!r} is neither three bands such as 3,2,1 nor one, counted from 1", param, ctx)
        return bands


class _Rescale(click.ParamType):
    name = "rescale"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float] | Literal["auto"]:
        """`0,2047` to (0, 2047); `auto` stays."""
        if value == "auto":
            return "auto"
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.fail(f"{value!r} is neither auto nor two growing numbers such as 0,2047", param, ctx)
        return low, high


class _Nodata(click.ParamType):
    name = "nodata"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Literal["none"]:
        """`255` to 255.0; `none` stays."""
        if value == "none":
            return "none"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor none", param, ctx)


BANDS = _Bands()
RESCALE = _Rescale()
NODATA = _Nodata()
