"""What a file says of its values is obeyed: negatives, few bits, tagged bands, colour tables, and found ranges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from command_calls import call, refused, restore, seed
from odd_photos import FINE, SIDE, TRANSFORM, inner, likeness, same_place, seen, served, town, turned, write
from quick_cases import quick_cases
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.warp import Resampling, reproject

from tileserver.errors import SourceError
from tileserver.photo.source import Source
from tileserver.service import TileService

TOWN = town()
GREY = TOWN[1:2]
BLUE_GREEN_RED = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
ALL = inner(np.ones((SIDE, SIDE), bool))


def lookup_table() -> tuple[np.ndarray, dict[int, tuple[int, int, int, int]]]:
    """The town in 64 colours: the number of each pixel's colour, and the colours."""
    index = (TOWN // 64).astype(np.uint8)
    table = {n: (n // 16 * 64 + 32, n // 4 % 4 * 64 + 32, n % 4 * 64 + 32, 255) for n in range(64)}
    return (index[0] * 16 + index[1] * 4 + index[2])[None], table


INDEX, TABLE = lookup_table()
EXPANDED = np.array([TABLE[n][:3] for n in range(64)], np.uint8)[INDEX[0]].transpose(2, 0, 1)
# Values, profile, the picture that is to be seen, and by how many grey levels it may be off in the mean.
KINDS: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray, float]] = {
    "negative of 8 bits": (255 - GREY, {"photometric": "MINISWHITE"}, GREY, 3),
    "negative with a mask": (
        255 - GREY,
        {"photometric": "MINISWHITE", "mask": turned(15), "overviews": (2, 4)},
        GREY,
        3,
    ),
    "negative of 12 bits": (
        4095 - GREY.astype(np.uint16) * 16,
        {"photometric": "MINISWHITE", "nbits": 12},
        GREY,
        3,
    ),
    "negative of 4 bits": (15 - GREY // 16, {"photometric": "MINISWHITE", "nbits": 4}, GREY // 16 * 17, 3),
    "negative of 1 bit": (1 - GREY // 128, {"photometric": "MINISWHITE", "nbits": 1}, GREY // 128 * 255, 20),
    "1 bit": (GREY // 128, {"nbits": 1}, GREY // 128 * 255, 20),
    "4 bits": (GREY // 16, {"nbits": 4}, GREY // 16 * 17, 3),
    "12 bits": (TOWN.astype(np.uint16) * 16, {"nbits": 12, "photometric": "RGB"}, TOWN, 3),
    "blue, green, red": (TOWN[::-1], {"colours": BLUE_GREEN_RED}, TOWN, 3),
    "blue, green, red, infrared": (
        np.concatenate([TOWN[::-1], 255 - GREY]),
        {"colours": (*BLUE_GREEN_RED, ColorInterp.undefined), "alpha": "no", "interleave": "band"},
        TOWN,
        3,
    ),
    "a colour table": (INDEX, {"photometric": "palette", "table": TABLE}, EXPANDED, 6),
    "a colour table with overviews": (
        INDEX,
        {"photometric": "palette", "table": TABLE, "overviews": (2,)},
        EXPANDED,
        6,
    ),
    "CMYK": (
        np.concatenate([255 - TOWN, np.zeros_like(GREY)]),
        {"photometric": "CMYK"},
        TOWN,
        3,
    ),
    "CMYK as JPEG": (
        np.concatenate([255 - TOWN, np.zeros_like(GREY)]),
        {"photometric": "CMYK", "compress": "jpeg", "interleave": "pixel"},
        TOWN,
        4,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_shown_as_the_file_means_them(kind: str, tmp_path: Path, tiny_weights: Path) -> None:
    values, profile, picture, most_off = KINDS[kind]
    path = write(tmp_path / "old.tif", values, **profile)
    with served(path, tiny_weights, nodata="none") as client:
        shown = seen(client, "old", FINE)
    where = ALL & inner(profile["mask"]) if "mask" in profile else ALL
    if "mask" in profile:
        same_place(profile["mask"], shown)
    assert shown[where][:, 3].all()
    off = np.abs(shown[..., :3].astype(int) - np.moveaxis(np.broadcast_to(picture, (3, SIDE, SIDE)), 0, 2))
    assert off[where].mean() <= most_off
    assert likeness(shown, picture, where) > (0.9 if "1 bit" in kind else 0.98)


FOUND: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "16 bits of few values": (GREY.astype(np.uint16) * 11 + 200, {}),
    "16 bits of a negative": (3000 - GREY.astype(np.uint16) * 11, {"photometric": "MINISWHITE"}),
    "numbers below zero": (GREY.astype(np.int16) * 5 - 900, {}),
    "from 0 to 1 with gaps": (np.where(turned(20), TOWN / 255, np.nan).astype(np.float32), {}),
    "a value for gaps": (np.where(turned(20), TOWN / 255, -9999).astype(np.float32), {"nodata": -9999.0}),
    "11 bits in colour": (TOWN.astype(np.uint16) * 8, {"photometric": "RGB", "overviews": (2, 4)}),
}


@pytest.mark.parametrize(
    "kind", quick_cases(FOUND, "16 bits of a negative", "from 0 to 1 with gaps", "11 bits in colour")
)
def test_a_range_is_found_where_the_file_does_not_tell(kind: str, tmp_path: Path, tiny_weights: Path) -> None:
    values, profile = FOUND[kind]
    path = write(tmp_path / "old.tif", values, **profile)
    with served(path, tiny_weights) as client:
        shown, info = seen(client, "old", FINE), client.app.state.service.old.info  # type: ignore[attr-defined]
    where = ALL & inner(turned(20)) if "gaps" in kind else ALL
    picture = TOWN if values.shape[0] == 3 else GREY
    assert shown[where][:, 3].all()
    assert likeness(shown, picture, where) > 0.97
    low, high = np.percentile(shown[where][:, :3], (1, 99))
    assert low < 30
    assert high > 215
    # Both numbers are told, and given by hand they change nothing.
    black, white = (f"{value:.12g}" for value in sorted(info.rescale))
    result = call("info", path, "--weights", tiny_weights)
    assert f"--rescale {black},{white}" in result.stdout
    with served(path, tiny_weights, rescale=(float(black), float(white))) as client:
        np.testing.assert_array_equal(seen(client, "old", FINE), shown)
        assert client.app.state.service.old.info.rescale == info.rescale  # type: ignore[attr-defined]
        assert not [note for note in client.app.state.service.old.info.notes if "rescale" in note]  # type: ignore[attr-defined]


def test_a_range_of_all_16_bits_and_one_of_8_are_kept(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.tif", GREY.astype(np.uint16) * 257)
    with rasterio.open(wide, "r+") as dataset:
        dataset.write(np.array([[0, 65535]], np.uint16), 1, window=((5, 6), (5, 7)))
        dataset.write(
            np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16), 1, window=((64, 128), (64, 128))
        )
    assert Source.open(str(wide)).info.rescale == (0.0, 65535.0)
    plain = write(tmp_path / "plain.tif", GREY)
    assert Source.open(str(plain)).info.rescale == (0.0, 255.0)
    low, high = Source.open(str(plain), rescale="auto").info.rescale
    assert 15 < low < high < 240


def test_every_command_finds_the_same_range(tmp_path: Path, tiny_weights: Path) -> None:
    path = write(tmp_path / "old.tif", GREY.astype(np.uint16) * 11 + 200)
    with served(path, tiny_weights) as client:
        service: TileService = client.app.state.service  # type: ignore[attr-defined]
        low, high = service.old.info.rescale
        zoom = service.rasters.view("restored", "WebMercatorQuad").pyramid.native_zoom
        named = f"--rescale {low:.12g},{high:.12g}"
        seeded = seed(path, tmp_path / "tiles", tiny_weights, "--format", "png", "--zooms", str(zoom))
        assert seeded.exit_code == 0, seeded.output
        assert named in seeded.stderr
        for file in (tmp_path / "tiles").glob("*/*/*.png"):
            z, x, y = file.parts[-3], file.parts[-2], file.stem
            assert client.get(f"/tiles/{z}/{x}/{y}.png").content == file.read_bytes()
    result = restore(path, tmp_path / "sharp.tif", tiny_weights)
    assert result.exit_code == 0, result.output
    assert named in result.stderr
    assert "restored at" in call("info", path, "--weights", tiny_weights).stdout
    with rasterio.open(tmp_path / "sharp.tif") as sharp, rasterio.open(path) as old:
        small = np.zeros((SIDE, SIDE), np.float32)
        reproject(
            sharp.read(2).astype(np.float32),
            small,
            src_transform=sharp.transform,
            src_crs=sharp.crs,
            dst_transform=old.transform,
            dst_crs=old.crs,
            resampling=Resampling.average,
        )
    assert np.corrcoef(small[8:-8, 8:-8].ravel(), GREY[0, 8:-8, 8:-8].ravel())[0, 1] > 0.9
    assert np.ptp(small) > 180


def test_range_and_reading_are_part_of_the_key(
    tmp_path: Path, make_service: Callable[..., TileService]
) -> None:
    path = write(tmp_path / "old.tif", GREY.astype(np.uint16) * 11 + 200)
    keys = {
        make_service(source=str(path), **settings).content
        for settings in ({}, {"rescale": (0.0, 65535.0)}, {"nodata": (300.0,)}, {"nodata": "none"})
    }
    # `none` hides what `auto` hides of a photograph without a border: nothing.
    assert len(keys) == 3
    assert make_service(source=str(path)).content in keys


def test_colours_that_cannot_be_shown_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    lab = write(tmp_path / "lab.tif", TOWN, photometric="ICCLAB")
    refused(call("info", lab, "--weights", tiny_weights), "ICC L*a*b*", "RGB")
    refused(call("serve", lab, "--weights", tiny_weights, "--port", 0), "ICC L*a*b*")
    deep = write(
        tmp_path / "cmyk16.tif", np.concatenate([TOWN, GREY]).astype(np.uint16) * 257, photometric="CMYK"
    )
    refused(call("restore", deep, tmp_path / "out.tif", "--weights", tiny_weights), "CMYK")
    assert Source.open(str(lab), bands=(1,)).is_grey
    table = write(tmp_path / "table.tif", INDEX, photometric="palette", table=TABLE)
    refused(call("info", table, "--bands", "1,1,1"), "--bands")


def test_the_only_band_of_a_table_is_its_colours(tmp_path: Path, tiny_weights: Path) -> None:
    """Also where the file is expanded before it is warped, or is a sheet: not its red in grey."""
    colours = {"photometric": "palette", "table": TABLE}
    points = [
        GroundControlPoint(row, column, *(TRANSFORM * (column, row)))
        for row, column in ((0, 0), (0, SIDE), (SIDE, 0), (SIDE, SIDE))
    ]
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    half = SIDE // 2
    for number, part in enumerate((INDEX[..., :half], INDEX[..., half:])):
        place = TRANSFORM * Affine.translation(number * half, 0)
        write(sheets / f"{number}.tif", part, transform=place, **colours)
    for path in (
        write(tmp_path / "plain.tif", INDEX, **colours),
        write(tmp_path / "points.tif", INDEX, gcps=points, transform=None, **colours),
        sheets,
    ):
        with served(path, tiny_weights, bands=(1,)) as client:
            assert likeness(seen(client, "old", FINE), EXPANDED, inner(ALL)) > 0.97, path.name
        with pytest.raises(SourceError, match="--bands"):
            Source.open(str(path), bands=(3, 2, 1))


def test_a_colour_of_the_table_can_be_nodata(tmp_path: Path, tiny_weights: Path) -> None:
    hole = np.zeros((SIDE, SIDE), bool)
    hole[60:140, 50:170] = True
    values = np.where(hole, 99, INDEX).astype(np.uint8)
    path = write(tmp_path / "old.tif", values, photometric="palette", table=TABLE, nodata=99)
    with served(path, tiny_weights) as client:
        shown = seen(client, "old", FINE)
    same_place(~hole, shown)
    assert likeness(shown, EXPANDED, inner(~hole) & ALL) > 0.98


def test_tagged_bands_can_be_overruled(tmp_path: Path, tiny_weights: Path) -> None:
    path = write(tmp_path / "old.tif", TOWN[::-1], colours=BLUE_GREEN_RED)
    assert Source.open(str(path)).info.bands == (3, 2, 1)
    with served(path, tiny_weights, bands=(1, 2, 3)) as client:
        assert likeness(seen(client, "old", FINE), TOWN[::-1], ALL) > 0.98
