"""Traits of photographs that are written as files: masks, bands, values and sizes of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from damage import block, overwrite
from made_roofs import photographed, roofs
from rasterio.enums import Resampling

from sr_model.measure import PhotoTraits
from tileserver.errors import ReadError
from tileserver.photo.traits import _has_plain_block, _without_collar, choose_windows, estimate_traits

BLUR, AMOUNT, RADIUS = 0.7, 1.0, 1.4
SIDE = 600


@pytest.fixture(scope="module")
def town() -> np.ndarray:
    """Roofs that are blurred and sharpened, float32 [600, 600]."""
    return photographed(roofs(1, BLUR, size=SIDE), amount=AMOUNT, radius_px=RADIUS)


def write(path: Path, values: np.ndarray, *, overviews: tuple[int, ...] = (), **profile: Any) -> Path:
    """A tiled GeoTIFF of [bands, height, width]."""
    count, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": values.dtype,
        "crs": "EPSG:32618",
        "transform": Affine(0.6, 0, 620_000, 0, -0.6, 4_695_000),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        **profile,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        if overviews:
            dataset.build_overviews(overviews, Resampling.average)
    return path


def traits(path: Path, bands: tuple[int, ...] = (1,), rescale: tuple[float, float] = (0, 255)) -> PhotoTraits:
    with rasterio.open(path) as dataset:
        return estimate_traits(dataset, bands=bands, rescale=rescale)


def check(found: PhotoTraits) -> None:
    assert found.source == "edges"
    assert found.blur_px == pytest.approx(BLUR, rel=0.1)
    assert found.halo_amount == pytest.approx(AMOUNT, abs=0.25)
    assert found.halo_radius_px == pytest.approx(RADIUS, abs=0.3)


def grey(town: np.ndarray) -> np.ndarray:
    return town.astype(np.uint8)[None]


def test_one_band_and_three_equal_ones_have_the_same_traits(tmp_path: Path, town: np.ndarray) -> None:
    one = traits(write(tmp_path / "one.tif", grey(town)))
    three = traits(write(tmp_path / "three.tif", np.repeat(grey(town), 3, axis=0)), (1, 2, 3))
    check(one)
    assert three == one
    assert one == traits(tmp_path / "one.tif")


def test_the_bands_that_are_shown_are_measured(tmp_path: Path, town: np.ndarray) -> None:
    infrared = np.full_like(grey(town), 90)
    path = write(tmp_path / "four.tif", np.concatenate([infrared, *[grey(town)] * 3]))
    check(traits(path, (2, 3, 4)))
    assert traits(path, (1,)).source == "none"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_values_are_rescaled_first(tmp_path: Path, town: np.ndarray, dtype: str) -> None:
    values = (town * 12 + 200).astype(dtype)[None]
    found = traits(write(tmp_path / "wide.tif", values), rescale=(200, 200 + 12 * 255))
    assert found == traits(write(tmp_path / "bytes.tif", grey(town)))


@pytest.mark.parametrize("hole", ["nodata", "mask", "untagged", "nan"])
def test_half_of_it_is_a_collar(tmp_path: Path, town: np.ndarray, hole: str) -> None:
    """The collar's border is the strongest straight edge of the file, and is not one of the photograph's."""
    values = np.zeros((1, SIDE, 2 * SIDE), np.float32 if hole == "nan" else np.uint8)
    values[0, :, :SIDE] = np.maximum(town, 1)
    values[0, :, SIDE:] = np.nan if hole == "nan" else 0
    path = tmp_path / "collar.tif"
    if hole == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write(path, values)
            with rasterio.open(path, "r+") as dataset:
                dataset.write_mask(values[0] > 0)
    else:
        write(path, values, nodata=0 if hole == "nodata" else None)
    found, alone = traits(path), traits(write(tmp_path / "alone.tif", grey(town)))
    check(found)
    assert found.blur_px == pytest.approx(alone.blur_px, abs=0.05)


def test_a_small_photo_is_measured_whole(tmp_path: Path, town: np.ndarray) -> None:
    found = traits(write(tmp_path / "small.tif", grey(town)[:, :200, :200]))
    assert found.source == "edges"
    assert found.edges < 150
    assert found.blur_px == pytest.approx(BLUR, rel=0.2)
    assert found.halo_amount == pytest.approx(AMOUNT, abs=0.4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (5, 5), (300, 40)])
def test_a_photo_of_hardly_any_pixels_has_traits_too(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(50, 200, (1, *shape), dtype=np.uint8)
    path = write(tmp_path / "tiny.tif", values, tiled=False, blockxsize=None, blockysize=None)
    assert traits(path).resolution_px == 1.0


def test_a_photo_without_edges_is_measured_by_its_spectrum(tmp_path: Path) -> None:
    side = 512
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    amplitude = np.exp(-2 * (np.pi * 1.5 * frequency) ** 2) / np.maximum(frequency, 1 / side)
    noise = np.fft.rfft2(np.random.default_rng(3).normal(size=(side, side)))
    woods = np.fft.irfft2(noise * amplitude)
    found = traits(write(tmp_path / "woods.tif", (110 + 5 * woods / woods.std()).astype(np.uint8)[None]))
    assert (found.source, found.edges, found.halo_amount) == ("spectrum", 0, 0.0)
    assert found.resolution_px > 1.5


def test_an_empty_photo_is_taken_for_a_sharp_one(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.tif", np.zeros((1, 700, 700), np.uint8), nodata=0)
    assert traits(path).source == "none"


def scattered(height: int, width: int, places: list[tuple[int, int]]) -> np.ndarray:
    """Flat ground with a small chequered roof at some (row, column) of cells of 512 px."""
    values = np.full((1, height, width), 90, np.uint8)
    roof = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((16, 16))).astype(np.uint8)
    for row, column in places:
        values[0, row * 512 + 192 :, column * 512 + 192 :][:128, :128] += 100 * roof
    return values


@pytest.mark.parametrize("overviews", [(), (2, 4, 8, 16)])
def test_windows_lie_where_edges_are_and_in_every_zone(tmp_path: Path, overviews: tuple[int, ...]) -> None:
    """With overviews or without: the photo is too large to be read whole."""
    places = [(0, 0), (0, 1), (0, 2), (7, 3), (4, 6)]
    path = write(tmp_path / "large.tif", scattered(4096, 4096, places), overviews=overviews)
    with rasterio.open(path) as dataset:
        chosen = choose_windows(dataset, bands=(1,), rescale=(0, 255), count=12)
    cells = [(w.row_off // 512, w.col_off // 512) for w in chosen]
    assert set(cells[:5]) == set(places)
    assert len(set(cells)) == 12
    zones = {(row * 3 // 8, column * 3 // 8) for row, column in cells}
    assert len(zones) == 9
    assert all(w.col_off + w.width <= 4096 and w.row_off + w.height <= 4096 for w in chosen)


def test_windows_without_data_are_not_chosen(tmp_path: Path) -> None:
    values = scattered(1024, 2048, [(0, 3), (1, 1)])
    values[:, :, :1024] = 0
    path = write(tmp_path / "half.tif", values, nodata=0)
    with rasterio.open(path) as dataset:
        chosen = choose_windows(dataset, bands=(1,), rescale=(0, 255))
    assert {(w.row_off // 512, w.col_off // 512) for w in chosen} == {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_one_damaged_block_of_a_small_photo_does_not_hide_the_rest(tmp_path: Path, town: np.ndarray) -> None:
    path = write(tmp_path / "damaged.tif", town[None, :500, :500].round().clip(0, 255).astype(np.uint8))
    start, size = block(path, 1, 1)
    overwrite(path, start, b"\xff" * size)
    with rasterio.open(path) as dataset:
        assert len(choose_windows(dataset, bands=(1,), rescale=(0, 255))) == 1
    check(traits(path))


def test_a_damaged_window_is_left_out_and_a_damaged_photo_is_told(tmp_path: Path, town: np.ndarray) -> None:
    values = np.concatenate([grey(town), grey(town)[:, ::-1]], axis=2)
    path = write(tmp_path / "damaged.tif", values, overviews=(2, 4))
    whole = traits(path)
    start, size = block(path, 0, 0)
    overwrite(path, start, b"\xff" * size)
    part = traits(path)
    assert part.edges < whole.edges or part != whole
    check(part)
    for row in range(3):
        for column in range(5):
            start, size = block(path, column, row)
            overwrite(path, start, b"\xff" * size)
    with pytest.raises(ReadError, match="damaged"):
        traits(path)


@pytest.mark.parametrize("shape", [(70, 90), (33, 40), (17, 129)])
def test_no_collar_goes_unseen_because_blocks_are_looked_at_first(shape: tuple[int, int]) -> None:
    ground = np.random.default_rng(5).random(shape).astype(np.float32)
    assert not _has_plain_block(ground)
    assert _without_collar(ground) is ground
    # The smallest that the filters find: half of a square at an edge, a quarter of one in a corner.
    for row in range(max(shape[0] - 32, 1)):
        for column in range(max(shape[1] - 32, 1)):
            picture = ground.copy()
            picture[row : row + 33, column : column + 33] = 9
            assert _has_plain_block(picture), (row, column)
    for rows in (slice(0, 17), slice(-17, None)):
        for columns in (slice(0, 17), slice(-17, None)):
            picture = ground.copy()
            picture[rows, columns] = 9
            assert _has_plain_block(picture)
            assert np.isnan(_without_collar(picture)).any()
