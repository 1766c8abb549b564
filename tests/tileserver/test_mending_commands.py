"""Every command of GDAL that a warning suggests is run as printed; what it leaves is shown as the photograph was."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from conftest import clean_environment
from odd_photos import CRS, TRANSFORM, town, turned, write
from private_mounts import private_mounts
from quick_cases import quick_cases
from range_server import served_files
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC
from sheets_of_ground import GSD_M, RD_WITHOUT_DATUM

from sr_model import PixelWindow
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.notice import code_of, command_of
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms

SIDE = 600
TOWN = town(SIDE)
GREY = TOWN[:1]
GREY12 = GREY.astype(np.uint16) * 16
LIES = turned(15, SIDE)
CRS_WKT = rasterio.CRS.from_user_input(CRS).to_wkt(version="WKT1_ESRI")
NEGATIVE = {"photometric": "MINISWHITE"}
BLUE_GREEN_RED = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
INDEX = (GREY // 8).astype(np.uint8)
TABLE = {n: (n * 8, 255 - n * 8, n * 4, 255) for n in range(32)}
POINTS = [
    GroundControlPoint(row, column, *(TRANSFORM * (column + 0.04 * row, row)))
    for row, column in ((0, 0), (0, SIDE), (SIDE, 0), (SIDE, SIDE), (300, 300))
]
PROGRAMS = ("gdal_translate", "gdaladdo", "gdal_edit.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(program) is None for program in PROGRAMS), reason="GDAL's programs are not installed"
    ),
]


def with_band(values: np.ndarray, band: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.broadcast_to(band, (1, SIDE, SIDE)).astype(values.dtype)])


# What values and profile a photograph without overviews has.
KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "colour": (TOWN, {"photometric": "RGB"}),
    "striped": (TOWN, {"tiled": False, "blockxsize": SIDE, "blockysize": 8, "interleave": "band"}),
    "JPEG": (TOWN, {"compress": "jpeg", "photometric": "YCBCR", "interleave": "pixel"}),
    "nodata": (np.where(LIES, np.maximum(TOWN, 21), 0).astype(np.uint8), {"nodata": 0}),
    "mask": (TOWN, {"mask": LIES}),
    "alpha": (with_band(TOWN, LIES * 255), {"alpha": "yes", "photometric": "RGB"}),
    "negative": (255 - GREY, NEGATIVE),
    "negative with a mask": (255 - GREY, {**NEGATIVE, "mask": LIES}),
    "negative with alpha": (with_band(255 - GREY, LIES * 255), {**NEGATIVE, "alpha": "yes"}),
    "negative with nodata": (
        np.where(LIES, 230 - GREY // 2, 255).astype(np.uint8),
        {**NEGATIVE, "nodata": 255},
    ),
    "negative of 12 bits": (4095 - GREY12, {**NEGATIVE, "nbits": 12}),
    "negative of 1 bit": (1 - GREY // 128, {**NEGATIVE, "nbits": 1}),
    "1 bit": (GREY // 128, {"nbits": 1}),
    "4 bits": (GREY // 16, {"nbits": 4}),
    "12 bits": (TOWN.astype(np.uint16) * 16, {"nbits": 12, "photometric": "RGB"}),
    "floats": (GREY.astype(np.float32) / 255, {}),
    "blue, green, red": (TOWN[::-1], {"colours": BLUE_GREEN_RED}),
    "blue, green, red, infrared": (
        with_band(TOWN[::-1], 255 - GREY),
        {"colours": (*BLUE_GREEN_RED, ColorInterp.undefined), "alpha": "no"},
    ),
    "a colour table": (INDEX, {"photometric": "palette", "table": TABLE}),
    "CMYK": (with_band(255 - TOWN, np.array(0)), {"photometric": "CMYK"}),
    "CMYK as JPEG": (
        with_band(255 - TOWN, np.array(0)),
        {"photometric": "CMYK", "compress": "jpeg", "interleave": "pixel"},
    ),
    "CIE L*a*b*": (TOWN, {"photometric": "CIELAB"}),
    "control points": (TOWN, {"gcps": POINTS, "transform": None}),
    "control points of a negative": (255 - GREY, {**NEGATIVE, "gcps": POINTS, "transform": None}),
    "control points and 12 bits": (GREY12, {"nbits": 12, "gcps": POINTS, "transform": None}),
    "control points and a colour table": (
        INDEX,
        {"photometric": "palette", "table": TABLE, "gcps": POINTS, "transform": None},
    ),
}


def mask_outside(path: Path) -> Path:
    write(path, TOWN)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(LIES, 255, 0).astype(np.uint8))
    assert path.with_name(path.name + ".msk").exists()
    return path


def with_rpcs(path: Path) -> Path:
    """With a model of the place of each pixel instead of a CRS: here a linear one."""
    half = SIDE / 2
    line, sample, one = ("0 0 -1" + " 0" * 17, "0 1" + " 0" * 18, "1" + " 0" * 19)
    model = RPC(
        height_off=0,
        height_scale=500,
        lat_off=42.4,
        lat_scale=0.0015,
        line_den_coeff=[float(x) for x in one.split()],
        line_num_coeff=[float(x) for x in line.split()],
        line_off=half,
        line_scale=half,
        long_off=-73.5,
        long_scale=0.002,
        samp_den_coeff=[float(x) for x in one.split()],
        samp_num_coeff=[float(x) for x in sample.split()],
        samp_off=half,
        samp_scale=half,
    )
    return write(path, TOWN, crs=None, transform=None, rpcs=model)


def world_file(path: Path) -> Path:
    """A PNG with a world file and a .prj beside it."""
    made = picture("PNG", ".png")(path)
    made.with_name(made.name + ".aux.xml").unlink()
    made.with_suffix(".pgw").write_text(
        f"{GSD_M}\n0\n0\n-{GSD_M}\n{TRANSFORM.c + GSD_M / 2}\n{TRANSFORM.f - GSD_M / 2}\n"
    )
    made.with_suffix(".prj").write_text(CRS_WKT)
    return made


def jpeg2000(path: Path) -> Path:
    made = path.with_suffix(".jp2")
    plain = write(path.with_name("plain.tif"), TOWN)
    # GDAL makes levels of resolution unless it is told not to.
    rasterio.shutil.copy(plain, made, driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY="100", RESOLUTIONS="1")
    return made


def cog(values: np.ndarray, **profile: Any) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        plain = write(path.with_name("plain.tif"), values, **profile)
        rasterio.shutil.copy(plain, path, driver="COG", overviews="NONE")
        return path

    return make


def picture(driver: str, suffix: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        made = path.with_suffix(suffix)
        rasterio.shutil.copy(write(path.with_name("plain.tif"), TOWN), made, driver=driver)
        return made

    return make


MADE: dict[str, Callable[[Path], Path]] = {
    "a mask in a file of its own": mask_outside,
    "COG with a mask": cog(TOWN, mask=LIES),
    "COG": cog(TOWN),
    "PNG": picture("PNG", ".png"),
    "PNG with a world file": world_file,
    "JPEG 2000": jpeg2000,
    "an RPC model": with_rpcs,
}


def run(command: str, folder: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = clean_environment()
    environment["PATH"] = os.pathsep.join([scripts, environment["PATH"]])
    made = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stdout + made.stderr


def commands_of(source: Source, code: str) -> str:
    (found,) = [one for one in source.info.warnings if code_of(one) == code]
    return command_of(found)


def codes(source: Source) -> set[str]:
    return {code_of(one) for one in source.info.warnings}


def seen(source: Source, zooms_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours (int [height, width, 3]) and mask of the ground of a photograph, at a zoom and coarser ones."""
    view = View.of_tms(source, supported_tms().get(WEB_MERCATOR), OutputScale(GSD_M))
    zoom = view.pyramid.native_zoom - zooms_out
    window = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    raster = view.read(
        zoom, PixelWindow(window.x, window.y, min(window.width, 1024), min(window.height, 1024))
    )
    return raster.rgb.astype(int), raster.mask > 0


def assert_shown_the_same(before: Source, after: Source, *, coarse: float = 8.0) -> None:
    """Within 1 grey level at full size; in overviews, which are averages, nearly so."""
    (rgb, mask), (other, other_mask) = seen(before, 0), seen(after, 0)
    assert mask.any()
    assert np.array_equal(mask, other_mask)
    assert np.abs(rgb - other)[mask].max() <= 1
    for zooms_out in (1, 2):
        (rgb, mask), (other, other_mask) = seen(before, zooms_out), seen(after, zooms_out)
        # The rim of a mask is averaged, too.
        assert (mask != other_mask).mean() < 0.02 * zooms_out
        both = mask & other_mask
        assert abs(rgb[both].mean() - other[both].mean()) < coarse / 3
        assert np.abs(rgb - other)[both].mean() < coarse


def mended(path: Path, code: str, folder: Path) -> Path:
    """The photograph, or its copy, after the command of a warning was run."""
    source = Source.open(str(path))
    command = commands_of(source, code)
    source.close()
    run(command, folder)
    copy = path.with_name(f"{path.stem}_overviews.tif")
    return copy if copy.exists() else path


@pytest.mark.parametrize(
    "kind",
    quick_cases([*KINDS, *MADE], "JPEG", "mask", "negative with nodata", "COG", "JPEG 2000", "an RPC model"),
)
def test_a_photograph_with_the_overviews_that_info_suggests_is_shown_the_same(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "old photo.tif"
    if kind in MADE:
        path = MADE[kind](path)
    else:
        values, profile = KINDS[kind]
        write(path, values, **profile)
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in tmp_path.glob("old photo*"):
        shutil.copy(file, kept)
    before, after = (
        Source.open(str(kept / path.name)),
        Source.open(str(mended(path, "no-overviews", tmp_path))),
    )
    assert after.info.overviews
    assert not codes(after)
    # Of 1 bit, the mean of several pixels is black or white; of few colours, it is the nearest of them.
    assert_shown_the_same(before, after, coarse=60 if "1 bit" in kind else 12)
    assert after.info.rescale == before.info.rescale
    before.close()
    after.close()


def test_a_photograph_behind_a_url_is_copied_and_keeps_its_values(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    for name, kind in (("negative", "negative of 12 bits"), ("points", "control points of a negative")):
        values, profile = KINDS[kind]
        write(folder / f"{name} 1.tif", values, **profile)
        with served_files(folder) as url:
            source = Source.open(f"{url}/{name}%201.tif")
            (warning,) = source.info.warnings
            assert "orthosharp info prints" in warning  # a URL may hold a signature
            run(command_of(warning), tmp_path)
        before, after = (
            Source.open(str(folder / f"{name} 1.tif")),
            Source.open(str(tmp_path / f"{name} 1_overviews.tif")),
        )
        assert not after.info.warnings
        assert_shown_the_same(before, after)


READ_ONLY = """
import shlex, subprocess, sys
from tileserver.photo.notice import command_of
from tileserver.photo.source import Source
source = Source.open(sys.argv[1])
(warning,) = source.info.warnings
command = command_of(warning).partition(" && orthosharp info ")[0]
print(command)
sys.exit(subprocess.run(command, shell=True).returncode)
"""


@pytest.mark.parametrize("kind", ["a photograph", "sheets"])
def test_commands_for_a_folder_that_cannot_be_written(kind: str, tmp_path: Path) -> None:
    """What they make is put into the working folder."""
    archive, here = tmp_path / "archive", tmp_path / "here"
    archive.mkdir()
    here.mkdir()
    write(archive / "a.tif", TOWN, photometric="RGB")
    if kind == "sheets":
        (archive / "b").mkdir()
        write(
            archive / "b" / "a.tif",
            TOWN,
            photometric="RGB",
            transform=TRANSFORM * TRANSFORM.translation(SIDE, 0),
        )
        (archive / "index.txt").write_text("a.tif\nb/a.tif\n")
    named = archive / ("a.tif" if kind == "a photograph" else "index.txt")
    lock = f'mount --bind {archive} {archive} && mount -o remount,ro,bind {archive} && exec "$@"'
    made = subprocess.run(
        [*private_mounts(), "sh", "-c", lock, "sh", sys.executable, "-c", READ_ONLY, str(named)],
        cwd=here,
        env=clean_environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    copies = sorted(here.rglob("*.tif"))
    assert len(copies) == (1 if kind == "a photograph" else 2)
    before = Source.open(str(named))
    after = Source.open([str(copy) for copy in copies] if kind == "sheets" else str(copies[0]))
    assert after.info.overviews
    assert_shown_the_same(before, after, coarse=12)


@pytest.mark.parametrize("named", [None, RD_WITHOUT_DATUM])
def test_a_copy_has_the_crs_that_was_given(named: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    where = Affine(GSD_M, 0, 155_000, 0, -GSD_M, 463_000) if named else TRANSFORM
    write(folder / "old.tif", 255 - GREY, **NEGATIVE, crs=named, transform=where)
    placing = Placing(crs="EPSG:28992" if named else CRS)
    with served_files(folder) as url:
        run(commands_of(Source.open(f"{url}/old.tif", placing=placing), "no-overviews"), tmp_path)
    before = Source.open(str(folder / "old.tif"), placing=placing)
    assert_shown_the_same(before, Source.open(str(tmp_path / "old_overviews.tif")))


@pytest.mark.parametrize("remote", [False, True])
def test_commands_for_a_stac_item_name_its_asset(tmp_path: Path, remote: bool) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    write(folder / "red 1.tif", 255 - GREY, **NEGATIVE)
    write(folder / "infrared.tif", with_band(TOWN, GREY), photometric="RGB", alpha="yes")
    assets = {"red": {"href": "red%201.tif"}, "colour": {"href": "./infrared.tif"}}
    (folder / "item.json").write_text(
        json.dumps({"type": "Feature", "id": "town", "properties": {}, "assets": assets})
    )
    shutil.copy(folder / "red 1.tif", tmp_path / "kept.tif")
    with served_files(folder) as url:
        item = f"{url}/item.json" if remote else str(folder / "item.json")
        for key, code in (("red", "no-overviews"), ("colour", "image-tagged-as-alpha")):
            command = commands_of(Source.open(f"{item}#{key}"), code)
            assert "item.json" not in command
            run(command, tmp_path)
    if remote:
        after = tmp_path / "red 1_overviews.tif", tmp_path / "infrared_overviews.tif"
    else:
        after = folder / "red 1.tif", folder / "infrared.tif"
    assert_shown_the_same(Source.open(str(tmp_path / "kept.tif")), Source.open(str(after[0])))
    colour = Source.open(str(after[1]))
    assert "image-tagged-as-alpha" not in codes(colour)
    assert seen(colour, 0)[1].mean() > 0.9


@pytest.mark.parametrize("kind", ["file", "COG"])
def test_the_command_that_unmasks_infrared(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "old photo.tif"
    profile: dict[str, Any] = {"photometric": "RGB", "alpha": "yes"}
    if kind == "COG":
        plain = write(tmp_path / "plain.tif", with_band(TOWN, GREY), **profile)
        rasterio.shutil.copy(plain, path, driver="COG", compress="deflate")
    else:
        write(path, with_band(TOWN, GREY), **profile, overviews=(2, 4))
    after = Source.open(str(mended(path, "image-tagged-as-alpha", tmp_path)))
    assert not after.info.warnings
    plain = write(tmp_path / "colours.tif", TOWN, photometric="RGB", overviews=(2, 4))
    assert_shown_the_same(Source.open(str(plain)), after)


# Overviews that show what the photograph hides, as programs leave them.


def mask_after_overviews(path: Path) -> None:
    write(path, TOWN, overviews=(2, 4))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(LIES, 255, 0).astype(np.uint8))


def overviews_in_another_file(path: Path) -> None:
    write(path, TOWN)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    kept = path.with_name(path.name + ".ovr").read_bytes()
    write(path, TOWN, mask=LIES)
    path.with_name(path.name + ".ovr").write_bytes(kept)


def mask_in_another_file(path: Path) -> None:
    write(path, TOWN, overviews=(2, 4))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(LIES, 255, 0).astype(np.uint8))


def nodata_after_overviews(path: Path) -> None:
    write(path, np.maximum(TOWN, 21), overviews=(2, 4))
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.where(LIES, np.maximum(TOWN, 21), 0).astype(np.uint8))
        dataset.nodata = 0


def negative_with_nodata(path: Path) -> None:
    write(path, 230 - GREY // 2, **NEGATIVE, overviews=(2, 4))
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.where(LIES, 230 - GREY // 2, 255).astype(np.uint8))
        dataset.nodata = 255


FAULTY: dict[str, Callable[[Path], None]] = {
    "a mask that was written after them": mask_after_overviews,
    "they are in another file": overviews_in_another_file,
    "the mask is in another file": mask_in_another_file,
    "nodata that was set after them": nodata_after_overviews,
    "a negative": negative_with_nodata,
}


@pytest.mark.parametrize("kind", quick_cases(FAULTY, "a mask that was written after them", "a negative"))
def test_overviews_that_lack_the_mask_are_made_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "old photo.tif"
    FAULTY[kind](path)
    before = Source.open(str(path))
    assert codes(before) == {"overviews-without-mask"}
    after = Source.open(str(mended(path, "overviews-without-mask", tmp_path)))
    assert after.info.overviews
    assert not after.info.warnings
    assert_shown_the_same(before, after)


def test_overviews_of_a_vrt_that_lack_the_mask_are_made_again(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", TOWN, mask=LIES, overviews=(2, 4))
    path = tmp_path / "m.vrt"
    run("gdalbuildvrt m.vrt a.tif", tmp_path)
    write(tmp_path / "plain.tif", TOWN)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(tmp_path / "plain.tif", "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    shutil.copy(tmp_path / "plain.tif.ovr", tmp_path / "m.vrt.ovr")
    before = Source.open(str(path))
    assert "overviews-without-mask" in codes(before)
    rgb = seen(before, 0)
    after = Source.open(str(mended(path, "overviews-without-mask", tmp_path)))
    assert after.info.overviews
    assert not after.info.warnings
    assert all(np.array_equal(one, other) for one, other in zip(rgb, seen(after, 0), strict=True))
    assert_shown_the_same(Source.open(str(tmp_path / "a.tif")), after)


def sheets(folder: Path, faulty: Callable[[Path], Path | None]) -> Path:
    """Two sheets side by side; the western one has overviews."""
    folder.mkdir()
    write(folder / "a west.tif", TOWN, photometric="RGB", overviews=(2, 4))
    faulty(folder / "b east.tif")
    with rasterio.open(folder / "b east.tif", "r+") as dataset:
        dataset.transform = TRANSFORM * TRANSFORM.translation(SIDE, 0)
    return folder


@pytest.mark.parametrize(
    ("code", "faulty"),
    [
        ("overviews-without-mask", mask_after_overviews),
        pytest.param("overviews-without-mask", mask_in_another_file, marks=pytest.mark.slow),
        pytest.param("no-overviews", mask_outside, marks=pytest.mark.slow),
        ("no-overviews", lambda path: write(path, TOWN, photometric="RGB")),
    ],
)
def test_sheets_are_mended_and_the_mosaic_is_shown_the_same(
    code: str, faulty: Callable[[Path], Path | None], tmp_path: Path, tiny_weights: Path
) -> None:
    folder = sheets(tmp_path / "many sheets", faulty)
    before = Source.open(str(folder))
    (warning,) = before.info.warnings
    assert code_of(warning) == code
    command, _, shown = command_of(warning).partition(" && orthosharp info ")
    was = seen(before, 0)
    run(command, tmp_path)
    after = Source.open(shlex.split(shown) or str(folder))
    assert after.info.overviews
    assert not after.info.warnings
    found = seen(after, 0)
    assert np.array_equal(was[1], found[1])
    assert np.abs(was[0] - found[0])[was[1]].max() <= 1
    masked = "mask" in faulty.__name__
    sound = sheets(
        tmp_path / "sound", lambda path: write(path, TOWN, mask=LIES if masked else None, overviews=(2, 4))
    )
    for zooms_out in (1, 2):
        rgb, mask = seen(Source.open(str(sound)), zooms_out)
        assert np.array_equal(mask, seen(after, zooms_out)[1])
        assert np.abs(rgb - seen(after, zooms_out)[0])[mask].max() <= 1
    # Looking at the folder, nobody sees the copies for sheets.
    assert Source.open(str(folder)).info.sheets == 2


@pytest.mark.parametrize("is_writable", [True, False])
def test_sheets_get_the_crs_that_info_names(is_writable: bool, tmp_path: Path) -> None:
    """In place, or in copies in the working folder. Without the datum, they lie 100 m off."""
    archive, here = tmp_path / "archive", tmp_path / "here"
    archive.mkdir()
    here.mkdir()
    utm = (663_304.0, 5_780_984.0), "EPSG:32631"  # about the same place
    for number, ((x, y), crs) in enumerate((utm, utm, ((155_000.0, 463_000.0), RD_WITHOUT_DATUM))):
        where = {"crs": crs, "transform": Affine(GSD_M, 0, x + number * SIDE * GSD_M, 0, -GSD_M, y)}
        write(archive / f"{number} a.tif", TOWN, photometric="RGB", overviews=(2, 4), **where)
    command = [sys.executable, "-c", READ_ONLY, str(archive)]
    if not is_writable:
        lock = f'mount --bind {archive} {archive} && mount -o remount,ro,bind {archive} && exec "$@"'
        command = [*private_mounts(), "sh", "-c", lock, "sh", *command]
    environment = clean_environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    made = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    copies = list(here.rglob("*.tif"))
    assert len(copies) == (0 if is_writable else 1)
    after = Source.open([str(path) for path in [*sorted(archive.glob("*.tif"))[: 3 - len(copies)], *copies]])
    assert not after.info.warnings
    assert after.info.sheets == 3


def test_a_vrt_of_negatives_stays_positive_with_the_overviews_that_info_suggests(tmp_path: Path) -> None:
    """As gdalbuildvrt makes it: without the tag, which the files have."""
    write(tmp_path / "a.tif", 255 - GREY, **NEGATIVE, overviews=(2, 4))
    write(tmp_path / "b.tif", 255 - GREY, **NEGATIVE, transform=TRANSFORM * TRANSFORM.translation(SIDE, 0))
    path = tmp_path / "m.vrt"
    run("gdalbuildvrt m.vrt a.tif b.tif", tmp_path)
    before = Source.open(str(path), nodata="none")
    assert before.info.rescale == (255, 0)
    was = seen(before, 0)
    assert abs(was[0][was[1]].mean() - GREY.mean()) < 3
    run(commands_of(before, "no-overviews"), tmp_path)
    after = Source.open(str(path), nodata="none")
    assert after.info.overviews
    assert after.info.rescale == (255, 0)
    assert all(np.array_equal(one, other) for one, other in zip(was, seen(after, 0), strict=True))
    rgb, mask = seen(after, 2)
    assert abs(rgb[mask].mean() - GREY.mean()) < 3
    assert Source.open(str(tmp_path), nodata="none").info.rescale == (255, 0)
