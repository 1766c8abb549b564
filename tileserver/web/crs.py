"""Coordinate reference systems that a request may name: by authority and code only."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from rasterio.crs import CRS
from rasterio.errors import CRSError
from titiler.core.dependencies import CoordCRSParams, CRSParams, DstCRSParams

from tileserver.errors import BadParameterError

_CRS_NAME = re.compile(r"\[?(EPSG|ESRI|OGC|IAU_2015):[A-Za-z0-9]{1,12}\]?", re.IGNORECASE)
_CRS_URI = re.compile(r"https?://www\.opengis\.net/def/crs/(EPSG|OGC|ESRI)/[0-9.]+/([A-Za-z0-9]{1,12})")


def named_crs(text: str | None) -> CRS | None:
    """Return a CRS given by authority and code, or None if no text is given.

    titiler accepts any definition that GDAL does, including names of files and URLs, which GDAL would then open.
    A client must not be able to make the server do that.

    Raises:
        BadParameterError: the text is not an authority and code, or the CRS is unknown.
    """
    if not text:
        return None
    uri = _CRS_URI.fullmatch(text)
    if uri is None and not _CRS_NAME.fullmatch(text):
        raise BadParameterError("give a CRS by authority and code, such as EPSG:3857")
    try:
        return CRS.from_string(f"{uri[1]}:{uri[2]}" if uri else text.strip("[]").upper())
    except (CRSError, ValueError) as error:
        raise BadParameterError("unknown CRS: give one such as EPSG:3857") from error


def safe_crs_dependencies() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return overrides of titiler's CRS parameters that use `named_crs`."""

    def crs(crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(crs)

    def coord_crs(coord_crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(coord_crs)

    def dst_crs(dst_crs: Annotated[str | None, Query(max_length=100)] = None) -> CRS | None:
        return named_crs(dst_crs)

    return {CRSParams: crs, CoordCRSParams: coord_crs, DstCRSParams: dst_crs}
