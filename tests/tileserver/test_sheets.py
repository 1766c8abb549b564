"""Many sheets are one photograph: a folder, several files, a pattern or an index; gaps are transparent."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from command_calls import call, refused, restore, seed
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.warp import transform as project
from sheets_of_ground import (
    BLUE,
    CORNER,
    GREEN,
    GSD_M,
    RED,
    UTM,
    YELLOW,
    Shown,
    near,
    place,
    write_sheet,
    write_vrt,
)
from starlette.testclient import TestClient

from tileserver.errors import SourceChangedError, SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.source import Source
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.web.app import create_app

SKIP = Placing(missing="skip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sheets with a gap between the second and the third; the second has a hole in its mask."""
    sheets = tmp_path / "town 1954"
    sheets.mkdir()
    write_sheet(sheets / "a.tif", 0, 0, RED)
    write_sheet(sheets / "b.tif", 128, 0, GREEN, hole=32)
    write_sheet(sheets / "c.tif", 300, 0, BLUE)
    return sheets


def shows_the_town(source: Source) -> None:
    for zooms_out in (0, 1, 2):
        shown = Shown(source, zooms_out)
        assert near(shown.at(64, 64), RED)
        assert near(shown.at(200, 64), GREEN)
        assert near(shown.at(360, 64), BLUE)
        assert shown.at(278, 64) is None, "the gap"
        assert shown.at(142, 14) is None, "the hole"


def of_geopackage(path: Path, names: list[str]) -> Path:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT)")
        database.execute("INSERT INTO gpkg_contents VALUES ('sheets', 'features')")
        database.execute("CREATE TABLE sheets (fid INTEGER PRIMARY KEY, geom BLOB, location TEXT)")
        database.executemany("INSERT INTO sheets (location) VALUES (?)", [(name,) for name in names])
    return path


def of_shapefile(path: Path, names: list[str]) -> Path:
    """The part of a shapefile that names files: its dBase table, as gdaltindex writes it."""
    path.write_bytes(b"")
    field = struct.pack("<11sc4xBB14x", b"location", b"C", 254, 0)
    header = struct.pack("<B3BIHH20x", 3, 124, 1, 1, len(names), 32 + 32 + 1, 255) + field + b"\r"
    rows = b"".join(b" " + name.encode().ljust(254) for name in names)
    path.with_suffix(".dbf").write_bytes(header + rows + b"\x1a")
    return path


def of_geojson(path: Path, names: list[str]) -> Path:
    features = [{"type": "Feature", "geometry": None, "properties": {"location": name}} for name in names]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def of_list(path: Path, names: list[str]) -> Path:
    path.write_text("\n".join(names))
    return path


def of_gti(path: Path, names: list[str]) -> Path:
    of_geopackage(path.with_name("inner.gpkg"), names)
    path.write_text("<GDALTileIndexDataset><IndexDataset>inner.gpkg</IndexDataset></GDALTileIndexDataset>")
    return path


def test_a_folder_is_one_photograph(folder: Path) -> None:
    source = Source.open(str(folder))
    shows_the_town(source)
    info = source.info
    assert (info.name, info.sheets) == ("town 1954", 3)
    assert info.pixel.gsd_m == pytest.approx(GSD_M, rel=1e-3)
    assert not info.warnings
    assert {Path(file).name for file in info.files} == {"a.tif", "b.tif", "c.tif"}


def test_sheets_in_folders_of_a_folder(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "Archive No. 3" / "1954"
    inner.parent.mkdir()
    folder.rename(inner)
    (inner / "a.tif").rename(inner / "A.TIF")
    source = Source.open(f"{inner.parent}/")
    shows_the_town(source)
    assert source.info.name == "Archive No. 3"


def test_pictures_with_world_files_are_sheets(tmp_path: Path) -> None:
    for name, column, colour in (("a", 0, RED), ("b", 128.5, GREEN)):
        Image.new("RGB", (128, 128), colour).save(tmp_path / f"{name}.jpg", quality=98, subsampling=0)
        left, top = CORNER[0] + (column + 0.5) * GSD_M, CORNER[1] - GSD_M / 2
        (tmp_path / f"{name}.jgw").write_text(f"{GSD_M}\n0\n0\n{-GSD_M}\n{left}\n{top}\n")
    refused(call("info", tmp_path), "2 of 2 sheets", "--crs EPSG:CODE")
    shown = Shown(Source.open(str(tmp_path), placing=Placing(crs=UTM)))
    assert near(shown.at(64, 64), RED, 6)
    assert near(shown.at(190, 64), GREEN, 6)


def test_files_and_patterns_are_one_photograph(folder: Path) -> None:
    shows_the_town(Source.open(sorted(str(path) for path in folder.iterdir())))
    shows_the_town(Source.open(f"{folder}/*.tif"))
    with pytest.raises(SourceError, match="matches no file"):
        Source.open(f"{folder}/*.jp2")


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        ("gpkg", of_geopackage),
        ("shp", of_shapefile),
        ("geojson", of_geojson),
        ("txt", of_list),
        ("gti", of_gti),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_indexes_are_one_photograph(
    folder: Path, suffix: str, write: Callable[[Path, list[str]], Path], absolute: bool
) -> None:
    base = folder if absolute else Path(folder.name)
    index = write(folder.parent / f"index.{suffix}", [str(base / f"{name}.tif") for name in "abc"])
    source = Source.open(str(index))
    shows_the_town(source)
    assert source.info.name == "index"


def test_the_finest_sheet_gives_the_pixels(tmp_path: Path) -> None:
    """A coarser sheet, one on a shifted grid and one in another CRS lie where they belong."""
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    write_sheet(tmp_path / "coarse.tif", 0, 128, GREEN, gsd_m=1.2, side=64)
    write_sheet(tmp_path / "shifted.tif", 128.4, 0.3, BLUE)
    longitude, latitude = place(128.4, 130)
    (x,), (y,) = project("EPSG:4326", "EPSG:6537", [longitude], [latitude])[:2]
    write_sheet(tmp_path / "feet.tif", 0, 0, YELLOW, crs="EPSG:6537", corner=(x, y), gsd_m=2.0)
    source = Source.open(str(tmp_path))
    assert source.info.pixel.gsd_m == pytest.approx(GSD_M, rel=1e-3)
    assert source.info.crs.to_epsg() == 32618
    shown = Shown(source)
    for at, colour in (((64, 64), RED), ((64, 192), GREEN), ((192, 64), BLUE), ((192, 192), YELLOW)):
        assert near(shown.at(*at), colour), at
    # Edges, to a pixel: the west of the sheet in feet, and the south of the coarse one.
    assert near(shown.at(131, 192), YELLOW)
    assert near(shown.at(125, 192), GREEN)
    assert near(shown.at(64, 253), GREEN)
    assert shown.at(64, 259) is None


def test_a_finer_sheet_in_another_crs_gives_the_pixels(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED, gsd_m=1.2)
    write_sheet(tmp_path / "b.tif", 256, 0, RED, gsd_m=1.2)
    longitude, latitude = place(0, 260)
    (x,), (y,) = project("EPSG:4326", "EPSG:32619", [longitude], [latitude])[:2]
    write_sheet(tmp_path / "next_zone.tif", 0, 0, GREEN, crs="EPSG:32619", corner=(x, y), gsd_m=0.6)
    source = Source.open(str(tmp_path))
    assert source.info.crs.to_epsg() == 32618
    assert source.info.pixel.gsd_m == pytest.approx(0.6, rel=0.01)
    assert near(Shown(source).at(50, 320), GREEN)


def test_what_a_sheet_hides_shows_the_sheet_below(tmp_path: Path) -> None:
    write_sheet(tmp_path / "1_below.tif", 0, 0, RED)
    write_sheet(tmp_path / "2_above.tif", 0, 0, GREEN, hole=64)
    for zooms_out in (0, 1, 2):
        shown = Shown(Source.open(str(tmp_path)), zooms_out)
        assert near(shown.at(30, 30), RED)
        assert near(shown.at(96, 96), GREEN)


@pytest.mark.parametrize("kind", ["nodata", "alpha"])
def test_nodata_and_alpha_of_sheets_are_kept(tmp_path: Path, kind: str) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    path = tmp_path / "b.tif"
    if kind == "nodata":
        write_sheet(path, 128, 0, GREEN, nodata=0, overviews=())
    else:
        write_sheet(path, 128, 0, (*GREEN, 255), overviews=())
    with rasterio.open(path, "r+") as file:
        if kind == "alpha":
            file.colorinterp = (*file.colorinterp[:3], ColorInterp.alpha)
        values = file.read()
        values[:, :, 64:] = 0
        file.write(values)
    shown = Shown(Source.open(str(tmp_path)))
    assert near(shown.at(160, 64), GREEN)
    assert shown.at(230, 64) is None


def test_grey_and_palette_sheets_go_with_colour(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    write_sheet(tmp_path / "b.tif", 128, 0, (90,))
    write_sheet(tmp_path / "c.tif", 256, 0, (7,), overviews=(), photometric="palette")
    with rasterio.open(tmp_path / "c.tif", "r+") as file:
        file.write_colormap(1, {7: (*YELLOW, 255), 0: (1, 2, 3, 255)})
    shown = Shown(Source.open(str(tmp_path)))
    assert near(shown.at(64, 64), RED)
    assert near(shown.at(190, 64), (90, 90, 90))
    assert near(shown.at(320, 64), YELLOW)


def test_sheets_whose_bands_are_in_another_order(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    write_sheet(tmp_path / "b.tif", 128, 0, BLUE[::-1])
    with rasterio.open(tmp_path / "b.tif", "r+") as file:
        file.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    shown = Shown(Source.open(str(tmp_path)))
    assert near(shown.at(64, 64), RED)
    assert near(shown.at(190, 64), BLUE)


def test_sheets_of_different_types_are_refused(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    write_sheet(tmp_path / "deep.tif", 128, 0, RED, dtype="uint16")
    with pytest.raises(SourceError, match=r"uint16: deep\.tif"):
        Source.open(str(tmp_path))


def test_a_folder_without_photographs(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    refused(call("info", tmp_path), "contains no photographs")


def test_sheets_far_apart_are_warned_of(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.tif", 0, 0, RED)
    write_sheet(tmp_path / "b.tif", 90_000, 60_000, RED)
    (warning,) = Source.open(str(tmp_path)).info.warnings
    assert warning.code == "sheets-far-apart"  # type: ignore[attr-defined]


def cut_short(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


@pytest.mark.parametrize("fault", ["cut short", "not a picture", "without a place"])
def test_a_damaged_sheet_is_named_and_can_be_skipped(folder: Path, fault: str) -> None:
    if fault == "cut short":
        write_sheet(folder / "b.tif", 128, 0, GREEN, side=512, overviews=(), compress=None)
        cut_short(folder / "b.tif")
    elif fault == "not a picture":
        (folder / "b.tif").write_text("Dear sir")
    else:
        Image.new("RGB", (64, 64)).save(folder / "b.tif")
    for command in (("info",), ("serve", "--port", 0)):
        refused(call(command[0], folder, *command[1:]), "1 of 3 sheets", "b.tif", "--missing skip")
    source = Source.open(str(folder), placing=SKIP)
    (warning,) = source.info.warnings
    assert "b.tif" in warning
    shown = Shown(source)
    assert near(shown.at(120, 64), RED), "nothing but its own ground is a gap"
    assert shown.at(200, 64) is None
    assert near(shown.at(360, 64), BLUE)


def test_an_absent_sheet_of_an_index(folder: Path, tiny_weights: Path, tmp_path: Path) -> None:
    index = of_list(folder.parent / "index.txt", [str(folder / f"{name}.tif") for name in ("a", "gone", "c")])
    refused(seed(index, tmp_path / "x.mbtiles", tiny_weights), "gone.tif", "no such file")
    refused(restore(index, tmp_path / "x.tif", tiny_weights), "gone.tif", "no such file")
    result = restore(index, tmp_path / "x.tif", tiny_weights, "--missing", "skip")
    assert result.exit_code == 0, result.output
    assert "gone.tif" in result.stderr
    with rasterio.open(tmp_path / "x.tif") as made:
        masks = [
            made.dataset_mask()[made.index(CORNER[0] + column * GSD_M, CORNER[1] - 40)]
            for column in (64, 200, 360)
        ]
    assert [bool(value) for value in masks] == [True, False, True]


def test_gaps_of_a_vrt_are_transparent(folder: Path) -> None:
    source = Source.open(str(write_vrt(folder / "m.vrt", ["a", "b", "c"])))
    shown = Shown(source)
    assert near(shown.at(64, 64), RED)
    assert shown.at(278, 64) is None
    assert shown.at(142, 14) is None, "the hole of a sheet"
    assert {Path(file).name for file in source.info.files} == {"m.vrt", "a.tif", "b.tif", "c.tif"}


def test_a_vrt_without_gaps_stays_as_it_is(folder: Path) -> None:
    path = write_vrt(folder / "m.vrt", ["a"])
    path.write_text(path.read_text().replace('rasterXSize="428"', 'rasterXSize="128"'))
    assert Source.open(str(path)).path == str(path)


def test_a_coarser_vrt_is_warned_of(folder: Path) -> None:
    path = write_vrt(folder / "m.vrt", ["a", "b", "c"], scale=0.5)
    (warning,) = [one for one in Source.open(str(path)).info.warnings if "detail" in one]
    assert "2.00 times" in warning
    command = warning.command.split(" ", 1)  # type: ignore[attr-defined]
    assert command[0] == "orthosharp"
    assert Source.open([str(folder / f"{name}.tif") for name in "abc"]).info.sheets == 3


def test_an_absent_sheet_of_a_vrt_is_named_at_start(folder: Path) -> None:
    path = write_vrt(folder / "m.vrt", ["a", "gone", "c"])
    refused(call("info", path), "1 of 3 sheets", "gone.tif")
    refused(call("serve", path, "--port", 0), "gone.tif")
    source = Source.open(str(path), placing=SKIP)
    assert any("gone.tif" in warning for warning in source.info.warnings)
    shown = Shown(source)
    assert near(shown.at(64, 64), RED)
    assert shown.at(200, 64) is None
    assert near(shown.at(360, 64), BLUE)


def test_an_absent_sheet_of_a_nested_vrt_is_named(folder: Path) -> None:
    write_vrt(folder / "inner.vrt", ["a", "gone"])
    outer = folder / "outer.vrt"
    text = write_vrt(outer, ["a"]).read_text().replace(">a.tif<", ">inner.vrt<")
    outer.write_text(text)
    refused(call("info", outer), "gone.tif")
    assert near(Shown(Source.open(str(outer), placing=SKIP)).at(64, 64), RED)


def test_served_tiles_show_the_sheets_and_leave_the_gap(folder: Path, tiny_weights: Path) -> None:
    settings = Settings(source=str(folder), weights=tiny_weights, runtime="openvino")
    with TestClient(create_app(settings)) as client:
        view = client.app.state.service.rasters.view("old", "WebMercatorQuad")  # type: ignore[attr-defined]
        for zooms_out in (0, 2):
            zoom = view.pyramid.native_zoom - zooms_out
            for column, colour in ((64, RED), (278, None), (360, BLUE)):
                (x,), (y,) = project("EPSG:4326", "EPSG:3857", *([value] for value in place(column, 64)))[:2]
                cell = view.pyramid.grid.cell(zoom)
                px, py = int((x - view.pyramid.grid.left) // cell), int((view.pyramid.grid.top - y) // cell)
                for layer in ("old", "restored"):
                    answer = client.get(f"/{layer}/tiles/WebMercatorQuad/{zoom}/{px // 256}/{py // 256}.png")
                    assert answer.status_code == 200
                    pixel = (
                        Image.open(io.BytesIO(answer.content)).convert("RGBA").getpixel((px % 256, py % 256))
                    )
                    assert isinstance(pixel, tuple)
                    assert pixel[3] == (255 if colour else 0)
                    if colour and layer == "old":
                        assert near(pixel[:3], colour)


def test_a_replaced_sheet_is_noticed(folder: Path, make_service: Callable[..., TileService]) -> None:
    service = make_service(source=str(folder))
    before = service.old.info.fingerprint
    write_sheet(folder / "a.tif", 0, 0, YELLOW)
    assert service.outdated
    with pytest.raises(SourceChangedError):
        Shown(service.old).at(64, 64)
    again = Source.open(str(folder))
    assert again.info.fingerprint != before
    assert near(Shown(again).at(64, 64), YELLOW)


def test_the_same_sheets_have_the_same_key(folder: Path) -> None:
    names = sorted(str(path) for path in folder.iterdir())
    one = Source.open(names).info.fingerprint
    assert one == Source.open(str(folder)).info.fingerprint
    assert one != Source.open(names[:2]).info.fingerprint


def test_credits_of_sheets_are_joined(folder: Path) -> None:
    for name, credit in (("a", "City of A"), ("b", "County of B"), ("c", "City of A")):
        with rasterio.open(folder / f"{name}.tif", "r+") as file:
            file.update_tags(TIFFTAG_COPYRIGHT=credit)
    assert Source.open(str(folder)).info.credit == "City of A; County of B"


def test_maps_of_a_configuration_may_be_folders_and_lists(folder: Path, tmp_path: Path) -> None:
    from tileserver.cli.config_file import read_maps

    (tmp_path / "orthosharp.toml").write_text(
        '[maps.all]\nsource = "town 1954"\n[maps.two]\nsource = ["town 1954/a.tif", "town 1954/c.tif"]\n'
        'missing = "skip"\n'
    )
    maps = read_maps({}, tmp_path / "orthosharp.toml")
    assert Source.of_settings(maps["all"]).info.sheets == 3
    two = Source.of_settings(maps["two"])
    assert two.info.sheets == 2
    assert Shown(two).at(200, 64) is None


def test_an_output_among_the_sheets_is_refused(folder: Path, tiny_weights: Path) -> None:
    refused(restore(folder, folder / "x.tif", tiny_weights), "among the sheets")


def test_every_command_takes_several_files(folder: Path, tiny_weights: Path, tmp_path: Path) -> None:
    names = [folder / f"{name}.tif" for name in "abc"]
    result = call("info", *names, "--weights", tiny_weights, "--no-estimate")
    assert result.exit_code == 0, result.output
    assert "3 sheets" in result.stdout
    archive = tmp_path / "town.mbtiles"
    result = call(
        "seed", *names, archive, "--weights", tiny_weights, "--runtime", "openvino", "--zooms", "16-17"
    )
    assert result.exit_code == 0, result.output
    result = call(
        "restore", *names, tmp_path / "town.tif", "--weights", tiny_weights, "--runtime", "openvino"
    )
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "town.tif") as made:
        mask = made.dataset_mask()
        gap = made.index(CORNER[0] + 278 * GSD_M, CORNER[1] - 40)
        ground = made.index(CORNER[0] + 64 * GSD_M, CORNER[1] - 40)
    assert (mask[gap], mask[ground]) == (0, 255)
    assert np.mean(mask != 0) > 0.8
