"""The colours of a photograph, read from files of every kind."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from damage import block, overwrite
from made_places import TOWN, faded, hazy, place
from rasterio.enums import ColorInterp, Resampling

from sr_model.colour_estimate import estimate_colour_map
from sr_model.colour_map import ColourMap
from tileserver.errors import ReadError
from tileserver.photo.colours import SAMPLED_PX, PhotoColours, find_colours, read_small
from tileserver.photo.source import Source

BYTES = (0.0, 255.0)
SEEN = hazy(place(TOWN), 0.4)


def write(path: Path, ground: np.ndarray, overviews: tuple[int, ...] = (), **profile: Any) -> Path:
    """Write uint8 or uint16 [height, width, bands] as a tiled GeoTIFF."""
    height, width, bands = ground.shape
    chosen = {"crs": "EPSG:32618", "transform": Affine(0.5, 0, 620_000, 0, -0.5, 4_695_000), "tiled": True}
    chosen |= {"blockxsize": 128, "blockysize": 128, "compress": "deflate"} | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=ground.dtype, **chosen
    ) as out:
        out.write(np.moveaxis(ground, 2, 0))
        if overviews:
            out.build_overviews(overviews, Resampling.average)
    return path


def colours_of(
    path: Path, bands: tuple[int, ...] = (1, 2, 3), rescale: tuple[float, float] = BYTES
) -> PhotoColours:
    with rasterio.open(path) as dataset:
        return find_colours(dataset, bands=bands, rescale=rescale, name="old")


def apart(one: ColourMap, other: ColourMap) -> int:
    """Largest difference between the curves of two maps, grey levels."""
    return int(np.abs(one.curves.astype(int) - other.curves).max())


def test_a_small_photograph_is_read_as_it_is(tmp_path: Path) -> None:
    found = colours_of(write(tmp_path / "old.tif", SEEN))
    assert found == PhotoColours(estimate_colour_map(SEEN), whole=True)
    assert not found.colours.is_identity


def test_a_clear_photograph_keeps_its_colours(tmp_path: Path) -> None:
    assert colours_of(write(tmp_path / "old.tif", place(TOWN))).colours.is_identity


@pytest.mark.parametrize("hide", ["nodata", "alpha", "mask", "nothing, black", "nothing, white"])
def test_half_a_collar_says_nothing(tmp_path: Path, hide: str) -> None:
    """Whether a mask tells of it or not."""
    side = len(SEEN)
    ground = np.full((side, 2 * side, 3), 255 if hide.endswith("white") else 0, np.uint8)
    ground[:, :side] = SEEN
    valid = np.zeros(ground.shape[:2], np.uint8)
    valid[:, :side] = 255
    path = tmp_path / "old.tif"
    if hide == "alpha":
        write(path, np.dstack([ground, valid]))
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = (*dataset.colorinterp[:3], ColorInterp.alpha)
    else:
        write(path, ground, nodata=0 if hide == "nodata" else None)
    if hide == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(valid)
    assert apart(colours_of(path).colours, estimate_colour_map(SEEN)) <= 1


def test_pure_red_is_not_nodata(tmp_path: Path) -> None:
    """A pixel has no data only where all of its bands are nodata, as when it is served."""
    ground = SEEN.copy()
    ground[:40] = (200, 0, 0)
    path = write(tmp_path / "old.tif", ground, nodata=0)
    with rasterio.open(path) as dataset:
        small, _ = read_small(dataset, bands=(1, 2, 3), rescale=BYTES, name="old")
    assert small.is_full


def test_bands_and_range_are_those_that_are_served(tmp_path: Path) -> None:
    twelve_bits = SEEN.astype(np.uint16) * 16
    infrared_first = np.dstack([np.full(SEEN.shape[:2], 4000, np.uint16), twelve_bits])
    path = write(tmp_path / "old.tif", infrared_first, alpha="unspecified")
    found = colours_of(path, (2, 3, 4), (0.0, 4080.0))
    assert found.colours == estimate_colour_map(SEEN)


def test_one_band_stays_grey(tmp_path: Path) -> None:
    grey = faded(place(TOWN), 85, 170).mean(axis=2, keepdims=True).astype(np.uint8)
    colours = colours_of(write(tmp_path / "old.tif", grey), (1,)).colours
    mapped = colours.apply(np.repeat(grey, 3, axis=2))
    assert not colours.is_identity
    assert (mapped == mapped[..., :1]).all()


@pytest.mark.parametrize(("bands", "tint", "grey"), [(1, 0, True), (3, 0, True), (3, 3, False)])
def test_three_equal_bands_are_black_and_white_and_a_tint_is_not(
    tmp_path: Path, bands: int, tint: int, grey: bool
) -> None:
    """Scans of black and white film often have three bands."""
    ground = place(TOWN).mean(axis=2, keepdims=True).clip(10, 240).astype(np.uint8).repeat(bands, axis=2)
    ground[..., 0] += tint
    with closing(Source.open(str(write(tmp_path / "old.tif", ground)))) as source:
        assert source.is_grey is grey


@pytest.mark.slow
def test_overviews_give_nearly_the_map_of_the_whole(tmp_path: Path) -> None:
    ground = hazy(place(TOWN, side=2560, patch=64), 0.4)
    plain = colours_of(write(tmp_path / "plain.tif", ground))
    overviews = colours_of(write(tmp_path / "overviews.tif", ground, (2, 4, 8)))
    whole = estimate_colour_map(ground)
    assert apart(plain.colours, overviews.colours) <= 2
    assert apart(plain.colours, whole) <= 6
    assert colours_of(tmp_path / "overviews.tif") == overviews


@pytest.mark.parametrize(("width", "overviews"), [(4400, ()), (4400, (2, 4)), (12_000, ())])
def test_the_copy_is_small_and_shows_the_whole(
    tmp_path: Path, width: int, overviews: tuple[int, ...]
) -> None:
    """The last is so large that it is read in squares only."""
    ramp = np.zeros((256, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    with rasterio.open(write(tmp_path / "old.tif", ramp, overviews)) as dataset:
        small, whole = read_small(dataset, bands=(1, 2, 3), rescale=BYTES, name="old")
    shown = small.rgb[..., 0][small.mask != 0]
    assert whole
    assert SAMPLED_PX / 2 < (small.mask[0] != 0).sum() <= SAMPLED_PX
    assert shown.min() <= 2
    assert shown.max() >= 248
    assert 125 < shown.mean() < 130


def test_a_damaged_block_costs_its_own_ground_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "old.tif", SEEN)
    offset, size = block(path, 1, 1)
    overwrite(path, offset, b"\xff" * size)
    found = colours_of(path)
    assert not found.whole
    assert apart(found.colours, estimate_colour_map(SEEN)) <= 6


def test_a_photograph_that_cannot_be_read_at_all_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "old.tif", SEEN[:128, :128])
    offset, size = block(path, 0, 0)
    overwrite(path, offset, b"\xff" * size)
    with pytest.raises(ReadError, match="damaged"):
        colours_of(path)


def test_an_empty_photograph_needs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "old.tif", np.zeros((200, 300, 3), np.uint8), nodata=0)
    assert colours_of(path) == PhotoColours(ColourMap(), whole=True)
    assert "empty" in caplog.text
