"""A mosaic of COGs, as one VRT, is one photograph: the same pixels, and a replaced file is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from conftest import Photo, middle_tile, write_photo
from rasterio.windows import Window

from tileserver.errors import SourceChangedError
from tileserver.photo.source import Source
from tileserver.service import TileRequest, TileService
from tileserver.tiling.grid import TileAddress

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"
# Not in the middle, and no multiple of a block.
COLUMN, ROW = 300, 200


def write_cogs(folder: Path, whole: Path) -> dict[str, tuple[int, int, int, int]]:
    """Cut a photograph into four COGs; x, y, width, height of each by its name."""
    with rasterio.open(whole) as dataset:
        width, height = dataset.width, dataset.height
        parts = {
            "nw": (0, 0, COLUMN, ROW),
            "ne": (COLUMN, 0, width - COLUMN, ROW),
            "sw": (0, ROW, COLUMN, height - ROW),
            "se": (COLUMN, ROW, width - COLUMN, height - ROW),
        }
        for name, (x, y, columns, rows) in parts.items():
            window = Window(x, y, columns, rows)
            profile = dataset.profile | {
                "driver": "GTiff",
                "width": columns,
                "height": rows,
                "transform": dataset.window_transform(window),
            }
            flat = folder / f"{name}-flat.tif"
            with rasterio.open(flat, "w", **profile) as part:
                part.write(dataset.read(window=window))
            rasterio.shutil.copy(
                flat, folder / f"{name}.tif", driver="COG", compress="deflate", blocksize=128
            )
    return parts


def write_vrt(folder: Path, whole: Path, parts: dict[str, tuple[int, int, int, int]]) -> Path:
    """The mosaic as gdalbuildvrt and `gdaladdo --config VRT_VIRTUAL_OVERVIEWS YES` write it."""
    with rasterio.open(whole) as dataset:
        srs, width, height = dataset.crs.to_wkt(), dataset.width, dataset.height
        transform = ", ".join(map(repr, dataset.transform.to_gdal()))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{w}" ySize="{h}"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="{w}" ySize="{h}"/></SimpleSource>'
            for name, (x, y, w, h) in parts.items()
        )
        + "</VRTRasterBand>"
        for band, colour in enumerate(("Red", "Green", "Blue"), 1)
    )
    path = folder / "mosaic.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{srs}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}"
        '<OverviewList resampling="average">2 4</OverviewList></VRTDataset>'
    )
    return path


@pytest.fixture
def mosaic(tmp_path: Path) -> tuple[Path, Path]:
    """One photograph, and the mosaic of its quarters."""
    whole = write_photo(tmp_path / "whole.tif", Photo(overviews=(2, 4)))
    return whole, write_vrt(tmp_path, whole, write_cogs(tmp_path, whole))


def test_a_mosaic_gives_the_tiles_of_one_photograph(
    mosaic: tuple[Path, Path], make_service: MakeService
) -> None:
    one, many = (make_service(source=str(path)) for path in mosaic)
    assert many.old.info.overviews == (2, 4)
    assert not many.old.info.warnings
    middle = middle_tile(one)
    tiles = [TileAddress(middle.z, middle.x + i, middle.y + j) for i in (-2, 0, 1) for j in (-1, 0)]
    for layer in ("old", "restored"):
        for tile in tiles:
            request = TileRequest(layer, MERCATOR, tile, "png")
            assert one.tile(request).body == many.tile(request).body
    # Overviews of the quarters begin at their own corners: alike, not equal.
    far = middle_tile(one, -3)
    rasters = [service.raster("old", MERCATOR, far.z, far.window) for service in (one, many)]
    difference = np.abs(rasters[0].rgb.astype(int) - rasters[1].rgb)
    assert difference[rasters[0].mask != 0].mean() < 2


def test_a_replaced_file_of_a_mosaic_is_noticed(mosaic: tuple[Path, Path], make_service: MakeService) -> None:
    _, path = mosaic
    service = make_service(source=str(path))
    assert {Path(file).name for file in service.old.info.files} == {
        "mosaic.vrt",
        *(f"{name}.tif" for name in ("nw", "ne", "sw", "se")),
    }
    request = TileRequest("old", MERCATOR, middle_tile(service), "png")
    service.tile(request)
    (path.parent / "se-flat.tif").replace(path.parent / "se.tif")
    assert service.outdated
    with pytest.raises(SourceChangedError):
        service.tile(TileRequest("old", MERCATOR, middle_tile(service), "webp"))
    assert Source.open(str(path)).info.fingerprint != service.old.info.fingerprint


def test_a_mosaic_without_overviews_gets_a_warning_with_the_command(mosaic: tuple[Path, Path]) -> None:
    _, path = mosaic
    path.write_text(path.read_text().replace('<OverviewList resampling="average">2 4</OverviewList>', ""))
    (warning,) = Source.open(str(path)).info.warnings
    assert "VRT_VIRTUAL_OVERVIEWS" in warning
