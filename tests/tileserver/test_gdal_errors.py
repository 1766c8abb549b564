"""Every refusal of GDAL is an error with a public name; all other errors pass unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.warp import transform, transform_geom

from tileserver.photo.gdal_errors import GdalError, gdal_errors

WGS84, MERCATOR, UTM = (CRS.from_epsg(code) for code in (4326, 3857, 32618))
POLYGON = {"type": "Polygon", "coordinates": [[(0.0, 0.0), (1.0, 0.0), (float("nan"), 1.0), (0.0, 0.0)]]}


def test_a_place_that_is_not_on_earth() -> None:
    with pytest.raises(GdalError, match="latitude"), gdal_errors():
        transform(WGS84, MERCATOR, [0.0], [1e9])


def test_an_error_without_a_reason() -> None:
    with pytest.raises(GdalError), gdal_errors():
        transform_geom(WGS84, UTM, POLYGON)


def test_it_is_caught_as_every_other_error_of_rasterio() -> None:
    with pytest.raises(RasterioError), gdal_errors():
        transform(WGS84, MERCATOR, [0.0], [1e9])


def test_errors_with_a_public_name_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RasterioIOError), gdal_errors():
        rasterio.open(tmp_path / "missing.tif")
    with pytest.raises(KeyError), gdal_errors():
        raise KeyError("ours")
    with pytest.raises(KeyboardInterrupt), gdal_errors():
        raise KeyboardInterrupt
