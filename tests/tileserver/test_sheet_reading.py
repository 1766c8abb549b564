"""Each sheet of a folder is prepared as a photograph of its own: its values, its border and all that hides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from sr_model import PixelWindow
from tileserver.errors import SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.source import Source
from tileserver.tiling.raster import Raster

SIDE = 200
GSD_M = 0.5
LEFT, TOP = 500_000.0, 5_800_000.0
# Two colours with none of the others between them.
TWO = {0: (255, 0, 0, 255), 1: (0, 0, 255, 255)}


def picture() -> npt.NDArray[np.uint8]:
    """[3, SIDE, SIDE], neither black nor white."""
    values = np.random.default_rng(4).integers(60, 200, (3, SIDE, SIDE))
    return values.astype(np.uint8)


def write(
    path: Path, values: npt.NDArray[Any], column: float = 0.0, row: float = 0.0, **profile: Any
) -> None:
    mask, table = profile.pop("mask", None), profile.pop("table", None)
    colours = profile.pop("colours", None)
    chosen = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
        "crs": "EPSG:25832",
        "transform": from_origin(LEFT + column * GSD_M, TOP - row * GSD_M, GSD_M, GSD_M),
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **{**chosen, **profile}) as file,
    ):
        if table:
            file.write_colormap(1, table)
        if colours:
            file.colorinterp = colours
        file.write(values)
        if mask is not None:
            file.write_mask(mask)


def shown(folder: Path, **options: Any) -> Raster:
    """The mosaic on its own pixels."""
    source = Source.open(str(folder), **options)
    info = source.info
    with rasterio.open(source.path) as file:
        transform = file.transform
    whole = PixelWindow(0, 0, info.width, info.height)
    raster = source.read(info.crs, transform, whole, info.pixel, overviews=False)
    source.close()
    return raster


@pytest.mark.parametrize(
    ("bits", "dtype", "scale"), [(4, "uint8", 17), (12, "uint16", 1 / 16), (None, "uint8", 1)]
)
def test_negatives_of_few_bits(tmp_path: Path, bits: int | None, dtype: str, scale: float) -> None:
    most = 2 ** (bits or 8) - 1
    positive = (picture()[:1] / scale).astype(dtype)
    more = {"nbits": bits} if bits else {}
    for name, column in (("a", 0), ("b", SIDE)):
        write(tmp_path / f"{name}.tif", most - positive, column, photometric="MINISWHITE", **more)
    raster = shown(tmp_path)
    wanted = positive[0] * (255.0 / most)
    assert abs(raster.rgb[:, :SIDE, 0] - wanted).max() < 2
    assert abs(raster.rgb[:, SIDE:, 0] - wanted).max() < 2


def test_negatives_of_real_numbers(tmp_path: Path) -> None:
    positive = (picture()[:1] / 255).astype(np.float32)
    for name, column in (("a", 0), ("b", SIDE)):
        write(tmp_path / f"{name}.tif", 1 - positive, column, photometric="MINISWHITE")
    seen = shown(tmp_path).rgb[:, :SIDE, 0]
    assert np.corrcoef(seen.ravel(), positive.ravel())[0, 1] > 0.99
    write(tmp_path / "b.tif", positive, SIDE)
    with pytest.raises(SourceError, match=r"a\.tif is a negative"):
        Source.open(str(tmp_path))


def test_a_negative_of_few_bits_among_positives(tmp_path: Path) -> None:
    positive = picture()[:1] // 16
    write(tmp_path / "a.tif", 15 - positive, nbits=4, photometric="MINISWHITE")
    write(tmp_path / "b.tif", positive, SIDE, nbits=4)
    raster = shown(tmp_path)
    assert abs(raster.rgb[:, :SIDE, 0] - positive[0] * 17.0).max() < 2
    assert abs(raster.rgb[:, SIDE:, 0] - positive[0] * 17.0).max() < 2


def test_colour_tables_of_few_bits(tmp_path: Path) -> None:
    table = {index: (index * 16, 255 - index * 16, 40, 255) for index in range(16)}
    index = picture()[:1] // 16
    for name, column in (("a", 0), ("b", SIDE)):
        write(tmp_path / f"{name}.tif", index, column, table=table, nbits=4, photometric="palette")
    assert np.array_equal(shown(tmp_path).rgb[:, :SIDE, 0], index[0] * 16)


def test_a_border_does_not_hide_the_neighbour(tmp_path: Path) -> None:
    """Sheets whose margins overlap the picture of the next one."""
    values = picture()
    values[:, :20] = values[:, -20:] = 255
    values[:, :, :20] = values[:, :, -20:] = 255
    for name, column in (("a", 0), ("b", SIDE - 40)):
        write(tmp_path / f"{name}.tif", values, column)
    raster = shown(tmp_path)
    assert not raster.mask[:18].any()
    assert raster.mask[25 : SIDE - 25, 25 : 2 * SIDE - 65].all()
    assert np.array_equal(raster.rgb[30, 165:178, 0], values[0, 30, 165:178])
    whole = shown(tmp_path, nodata="none")
    assert whole.mask.all()


def test_nodata_is_one_value_in_all_bands(tmp_path: Path) -> None:
    """The red band alone must not hide the sheet, nor a hole show."""
    values = picture()
    values[0, 100:] = 0
    values[:, :50, :50] = 0
    for name, column in (("a", 0), ("b", SIDE)):
        write(tmp_path / f"{name}.tif", values, column, nodata=0)
    mask = shown(tmp_path).mask
    assert not mask[:50, :50].any()
    assert mask[100:].all()


@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_nodata_and_another_mask(tmp_path: Path, kind: str) -> None:
    values = picture()
    values[:, :50, :50] = 0
    other = np.full((SIDE, SIDE), 255, np.uint8)
    other[100:150, 100:150] = 0
    for name, column in (("a", 0), ("b", SIDE)):
        path = tmp_path / f"{name}.tif"
        if kind == "mask":
            write(path, values, column, nodata=0, mask=other)
        else:
            rgba = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
            write(path, np.concatenate([values, other[None]]), column, nodata=0, colours=rgba)
    mask = shown(tmp_path).mask
    assert not mask[:50, :50].any()
    assert not mask[100:150, 100:150].any()
    assert mask[60:90].all()


@pytest.mark.parametrize("off_grid", [0.0, 0.4])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_masks_of_every_type(tmp_path: Path, dtype: str, off_grid: float) -> None:
    values = picture().astype(dtype)
    values[:, 50:100, 50:100] = -9
    alpha = np.where(values[:1] == -9, 0, 255).astype(dtype)
    rgba = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    write(tmp_path / "a.tif", values, nodata=-9)
    write(tmp_path / "b.tif", values, SIDE + off_grid, off_grid, nodata=-9)
    write(tmp_path / "c.tif", np.concatenate([values, alpha]), off_grid, SIDE + off_grid, colours=rgba)
    mask = shown(tmp_path).mask
    for row, column in ((0, 0), (0, SIDE), (SIDE, 0)):
        assert not mask[row + 52 : row + 98, column + 52 : column + 98].any(), (row, column)
        assert mask[row + 110 : row + 190, column + 110 : column + 190].all(), (row, column)


def test_colour_tables_are_expanded_before_they_are_warped(tmp_path: Path) -> None:
    index = (np.indices((SIDE, SIDE)).sum(0) // 20 % 2).astype(np.uint8)[None]
    # Numbers far apart, between which a kernel would find the colours of others.
    table = dict.fromkeys(range(256), (0, 255, 0, 255)) | {10: TWO[0], 200: TWO[1]}
    index = np.where(index, 10, 200).astype(np.uint8)
    write(tmp_path / "a.tif", index, table=table)
    write(tmp_path / "b.tif", index, SIDE + 0.4, 0.3, table=table)
    assert shown(tmp_path).rgb[..., 1].max() < 20


def test_control_points_of_a_sheet_with_a_colour_table(tmp_path: Path) -> None:
    index = np.where(np.indices((SIDE, SIDE)).sum(0) // 20 % 2, 10, 200).astype(np.uint8)[None]
    table = dict.fromkeys(range(256), (0, 255, 0, 255)) | {10: TWO[0], 200: TWO[1]}
    index[:, :40, :40] = 77
    path = tmp_path / "a.tif"
    write(path, index, table=table, nodata=77)
    points = [
        rasterio.control.GroundControlPoint(row, column, LEFT + column / 2 + row / 50, TOP - row / 2)
        for row in (0, SIDE)
        for column in (0, SIDE)
    ]
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(25832))
    raster = shown(path)
    assert raster.rgb[..., 1][raster.mask > 0].max() < 20
    assert not raster.mask[5:35, 10:35].any()
    assert raster.mask[100, 100]


def test_the_place_of_a_sheet_in_another_crs_is_checked(tmp_path: Path) -> None:
    """NAD27 is known less well than two of these pixels, with its grids too."""
    for name, column in (("a", 0), ("b", SIDE)):
        write(tmp_path / f"{name}.tif", picture(), crs="EPSG:26918", transform=utm_18(column, 0))
    write(tmp_path / "c.tif", picture(), crs="EPSG:26718", transform=utm_18(0, SIDE + 400))
    texts = {one.code: one for one in Source.open(str(tmp_path)).info.warnings}  # type: ignore[attr-defined]
    assert "1 of 3 sheets has another CRS (c.tif)" in texts["position-inaccurate"]
    with pytest.raises(SourceError, match=r"refused.*c\.tif"):
        Source.open(str(tmp_path), placing=Placing(inaccurate="refuse"))


def utm_18(column: int, row: int) -> rasterio.Affine:
    return from_origin(580_000 + column * GSD_M, 4_700_000 - row * GSD_M, GSD_M, GSD_M)
