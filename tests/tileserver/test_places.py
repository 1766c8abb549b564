"""Where photographs lie: world files, CRSs that are given, control points, and how exactly PROJ knows a place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from command_calls import call, refused, restore, seed
from conftest import Photo, clean_environment, write_photo
from PIL import Image
from range_server import served_files
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from sheets_of_ground import BLUE, CORNER, GREEN, GSD_M, RD_WITHOUT_DATUM, RED, UTM, Shown, near, write_sheet

from tileserver.errors import SettingsError, SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.notice import code_of
from tileserver.photo.source import Source

MakePhoto = Callable[..., Path]
SMALL = {"width": 96, "height": 64, "overviews": ()}


def write_quarters(path: Path) -> Path:
    """A picture whose quarters are red, green, blue and white: 100 pixels a side, without a place."""
    values = np.full((3, 100, 100), 250, np.uint8)
    for rows, columns, colour in ((0, 0, RED), (0, 50, GREEN), (50, 0, BLUE)):
        values[:, rows : rows + 50, columns : columns + 50] = np.array(colour)[:, None, None]
    Image.fromarray(np.moveaxis(values, 0, 2)).save(path)
    return path


@contextmanager
def editing(path: Path) -> Iterator[rasterio.io.DatasetWriter]:
    """The file, open to write its tags, without rasterio's warning that it has no place yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as file:
            yield file


def shows_quarters(source: Source) -> None:
    shown = Shown(source)
    assert near(shown.at(25, 25), RED)
    assert near(shown.at(75, 25), GREEN)
    assert near(shown.at(25, 75), BLUE)
    assert near(shown.at(75, 75), (250, 250, 250))


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    """A JPEG with a world file, which does not say in which CRS."""
    write_quarters(tmp_path / "flat.tif")
    with Image.open(tmp_path / "flat.tif") as image:
        image.save(tmp_path / "photo.jpg", quality=98, subsampling=0)
    left, top = CORNER[0] + GSD_M / 2, CORNER[1] - GSD_M / 2
    (tmp_path / "photo.jgw").write_text(f"{GSD_M}\n0\n0\n{-GSD_M}\n{left}\n{top}\n")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("text", ["0.6 abc\n", "0.6\n0\n0\n-0.6\n", "0\n0\n0\n0\n620000\n4695000\n"])
@pytest.mark.parametrize("name", ["photo.jgw", "photo.wld"])
def test_a_world_file_that_cannot_be_read_is_named(jpeg: Path, text: str, name: str) -> None:
    jpeg.with_name("photo.jgw").unlink()
    jpeg.with_name(name).write_text(text)
    refused(call("info", jpeg), f"{name} beside it cannot be read as a world file", "six lines")


def test_a_world_file_asks_for_the_crs_alone(jpeg: Path) -> None:
    result = call("info", jpeg)
    refused(result, "--crs EPSG:CODE", "photo.prj")
    assert "gdal_edit" not in result.stderr


def test_a_crs_can_be_given(jpeg: Path, tiny_weights: Path, tmp_path: Path) -> None:
    shows_quarters(Source.open(str(jpeg), placing=Placing(crs=UTM)))
    assert restore(jpeg, tmp_path / "x.tif", tiny_weights, "--crs", UTM).exit_code == 0
    with rasterio.open(tmp_path / "x.tif") as made:
        assert made.crs.to_epsg() == 32618
        assert made.bounds.left == pytest.approx(CORNER[0], abs=0.01)
        assert made.bounds.top == pytest.approx(CORNER[1], abs=0.01)
    assert seed(jpeg, tmp_path / "x.mbtiles", tiny_weights, "--crs", UTM).exit_code == 0
    refused(call("info", jpeg, "--crs", "EPSG:99999"), "EPSG:99999")
    with pytest.raises(SettingsError, match="EPSG:28992"):
        Source.open(str(jpeg), placing=Placing(crs="nonsense"))


@pytest.mark.parametrize("dialect", ["WKT1_GDAL", "WKT1_ESRI"])
@pytest.mark.parametrize("name", ["photo.prj", "photo.jpg.prj", "photo.PRJ"])
def test_a_prj_beside_is_read(jpeg: Path, dialect: str, name: str) -> None:
    (jpeg.parent / name).write_text(CRS.from_epsg(32618).to_wkt(version=dialect))
    source = Source.open(str(jpeg))
    shows_quarters(source)
    assert source.info.position.accuracy_m == 0


def test_a_crs_is_part_of_the_key(jpeg: Path) -> None:
    one, other = (
        Source.open(str(jpeg), placing=Placing(crs=crs)).info.fingerprint for crs in (UTM, "EPSG:32619")
    )
    assert one != other


def test_a_given_crs_replaces_wrong_tags(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "a.tif", 0, 0, RED, crs="EPSG:32617")
    assert near(Shown(Source.open(str(path), placing=Placing(crs=UTM))).at(64, 64), RED)
    write_sheet(tmp_path / "b.tif", 128, 0, GREEN, crs="EPSG:32617")
    assert near(Shown(Source.open(str(tmp_path), placing=Placing(crs=UTM))).at(190, 64), GREEN)


def test_a_picture_without_any_place(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "scan.jpg")
    refused(call("info", tmp_path / "scan.jpg"), "not georeferenced", "scan.jgw", "control points")
    refused(call("info", tmp_path / "scan.jpg", "--crs", UTM), "not georeferenced")


def control_points(bend_m: float = 0.0) -> list[GroundControlPoint]:
    """A lattice of points; in the middle column, the ground is bent to the east."""
    return [
        GroundControlPoint(
            row=row,
            col=column,
            x=CORNER[0] + column * GSD_M + (bend_m if column == 50 else 0),
            y=CORNER[1] - row * GSD_M,
        )
        for row in (0, 25, 50, 75, 100)
        for column in (0, 25, 50, 75, 100)
    ]


@pytest.mark.parametrize("transform", ["polynomial", "tps"])
def test_control_points_are_warped(tmp_path: Path, transform: str) -> None:
    path = write_quarters(tmp_path / "a.tif")
    with editing(path) as file:
        file.gcps = control_points(), CRS.from_string(UTM)
        file.update_tags(TIFFTAG_COPYRIGHT="City of A")
    source = Source.open(str(path), placing=Placing(gcp_transform=transform))  # type: ignore[arg-type]
    shows_quarters(source)
    assert Shown(source).at(-5, 50) is None
    assert source.info.files == (str(path),)
    assert source.info.credit == "City of A"


def test_a_thin_plate_spline_follows_every_point(tmp_path: Path) -> None:
    path = write_quarters(tmp_path / "a.tif")
    with editing(path) as file:
        file.gcps = control_points(bend_m=9.0), CRS.from_string(UTM)
    # The border between red and green, in column 50, was bent by 15 pixels.
    places = {}
    for transform in ("polynomial", "tps"):
        source = Source.open(str(path), placing=Placing(gcp_transform=transform))  # type: ignore[arg-type]
        shown = Shown(source)
        places[transform] = next(column for column in range(40, 90) if near(shown.at(column, 25), GREEN, 20))
    assert places["tps"] == pytest.approx(65, abs=2)
    assert places["polynomial"] < 63


def test_control_points_in_a_crs_that_is_given_and_too_few_of_them(tmp_path: Path) -> None:
    path = write_quarters(tmp_path / "a.tif")
    with editing(path) as file:
        file.gcps = control_points(), CRS.from_string("EPSG:32617")
    shows_quarters(Source.open(str(path), placing=Placing(crs=UTM)))
    with editing(path) as file:
        file.gcps = control_points()[:2], CRS.from_string(UTM)
    with pytest.raises(SourceError, match="at least 3"):
        Source.open(str(path))


def test_sheets_with_control_points_are_a_mosaic(tmp_path: Path) -> None:
    write_sheet(tmp_path / "b.tif", 128, 0, GREEN)
    path = write_quarters(tmp_path / "a.tif")
    with editing(path) as file:
        file.gcps = control_points(), CRS.from_string(UTM)
    source = Source.open(str(tmp_path))
    shows_quarters(source)
    assert near(Shown(source).at(190, 64), GREEN)
    assert Shown(source).at(114, 50) is None


def test_an_rpc_model_is_warped(tmp_path: Path) -> None:
    path = write_quarters(tmp_path / "a.tif")
    linear = {
        "first": [0.0, 1.0] + [0.0] * 18,
        "second": [0.0, 0.0, -1.0] + [0.0] * 17,
        "one": [1.0] + [0.0] * 19,
    }
    longitude, latitude, half = -73.54, 42.39, 0.0005
    rpc = rasterio.rpc.RPC(
        height_off=0, height_scale=100, lat_off=latitude, lat_scale=half, long_off=longitude, long_scale=half,
        line_off=50, line_scale=50, samp_off=50, samp_scale=50,
        line_num_coeff=linear["second"], line_den_coeff=linear["one"],
        samp_num_coeff=linear["first"], samp_den_coeff=linear["one"], err_bias=0, err_rand=0,
    )  # fmt: skip
    with editing(path) as file:
        file.rpcs = rpc
    west, south, east, north = Source.open(str(path)).info.bounds_lonlat
    assert (west + east) / 2 == pytest.approx(longitude, abs=2e-5)
    assert (south + north) / 2 == pytest.approx(latitude, abs=2e-5)
    assert east - west == pytest.approx(2 * half, rel=0.05)


@pytest.mark.parametrize(
    ("crs", "origin", "accuracy_m", "grid"),
    [
        ("EPSG:31467", (3_400_000.0, 5_900_000.0), 3, "de_adv_BETA2007.tif"),
        ("EPSG:26718", (620_000.0, 4_693_000.0), 10, "us_noaa_conus.tif"),
        ("EPSG:27200", (2_660_000.0, 5_990_000.0), 4, "nz_linz_nzgd2kgrid0005.tif"),
        ("EPSG:27700", (530_000.0, 180_000.0), 2, "uk_os_OSTN15_NTv2_OSGBtoETRS.tif"),
    ],
)
def test_missing_grids_are_named(
    make_photo: MakePhoto, crs: str, origin: tuple[float, float], accuracy_m: float, grid: str
) -> None:
    path = make_photo(crs=crs, origin=origin, gsd_m=0.5, **SMALL)
    info = Source.open(str(path)).info
    assert info.position.accuracy_m == accuracy_m
    (warning,) = info.warnings
    assert code_of(warning) == "position-inaccurate"
    for words in (grid, f"about {accuracy_m} m", "pyproj sync --file", "PROJ_NETWORK=ON", "PROJ_DATA"):
        assert words in warning


def test_a_coarse_photograph_needs_no_grid(make_photo: MakePhoto) -> None:
    info = Source.open(
        str(make_photo(crs="EPSG:31467", origin=(3_400_000.0, 5_900_000.0), gsd_m=2.0, **SMALL))
    ).info
    assert info.position.accuracy_m == 3
    assert not info.warnings


@pytest.mark.parametrize(
    ("crs", "origin"),
    [
        (UTM, (620_000.0, 4_695_000.0)),
        (
            "EPSG:26918",
            (620_000.0, 4_695_000.0),
        ),  # NAD83: 4 m by the book, and taken as WGS 84 by every web map
        ("EPSG:25832", (500_000.0, 5_600_000.0)),  # ETRS89
        ("EPSG:6537", (753_000.0, 1_300_000.0)),
        ("EPSG:3857", (-8_185_000.0, 5_220_000.0)),
        ("EPSG:4326", (-73.53, 42.39)),
        ("EPSG:2193", (1_750_000.0, 5_430_000.0)),  # NZGD2000
    ],
)
def test_modern_datums_are_not_warned_of(
    make_photo: MakePhoto, crs: str, origin: tuple[float, float]
) -> None:
    gsd = 3e-6 if crs == "EPSG:4326" else 0.3
    info = Source.open(str(make_photo(crs=crs, origin=origin, gsd_m=gsd, **SMALL))).info
    assert not info.warnings


def test_a_crs_without_a_datum(make_photo: MakePhoto, tiny_weights: Path, tmp_path: Path) -> None:
    odd = {"origin": (154_925.0, 463_075.0), "gsd_m": 0.5, **SMALL}
    path, good = make_photo("odd", crs=RD_WITHOUT_DATUM, **odd), make_photo("good", crs="EPSG:28992", **odd)
    (warning,) = Source.open(str(path)).info.warnings
    assert code_of(warning) == "position-unknown"
    assert "--crs EPSG:28992" in warning
    for result in (
        seed(path, tmp_path / "x.mbtiles", tiny_weights),
        restore(path, tmp_path / "x.tif", tiny_weights),
        call("info", path, "--weights", tiny_weights, "--no-estimate"),
    ):
        assert result.exit_code == 0, result.output
        assert "no datum" in result.stderr
    refused(call("serve", path, "--inaccurate", "refuse", "--port", 0), "no datum", "--inaccurate refuse")
    refused(restore(path, tmp_path / "y.tif", tiny_weights, "--inaccurate", "refuse"), "no datum")
    mended = Source.open(str(path), placing=Placing(crs="EPSG:28992")).info
    assert not mended.warnings
    assert mended.bounds_lonlat == pytest.approx(Source.open(str(good)).info.bounds_lonlat, abs=1e-9)


def test_coordinates_outside_of_the_area_of_use(make_photo: MakePhoto) -> None:
    path = make_photo(crs="EPSG:2014", origin=(760_000.0, 9_620_000.0), **SMALL)
    warnings = Source.open(str(path)).info.warnings
    (text,) = [one for one in warnings if code_of(one) == "outside-area-of-use"]
    assert "Quebec" in text
    refused(call("info", path, "--inaccurate", "refuse"), "Quebec")


def write_grid(folder: Path) -> Path:
    """A shift grid for DHDN in which all of Germany moves by 5 seconds to the south, as PROJ reads GeoTIFFs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "de_adv_BETA2007.tif"
    profile = {
        "driver": "GTiff",
        "width": 48,
        "height": 40,
        "count": 2,
        "dtype": "float32",
        "crs": "EPSG:4314",
    }
    with rasterio.open(path, "w", transform=Affine(0.25, 0, 4.875, 0, -0.25, 56.125), **profile) as file:
        file.write(np.stack([np.full((40, 48), -5.0, "f4"), np.zeros((40, 48), "f4")]))
        file.update_tags(TYPE="HORIZONTAL_OFFSET", AREA_OR_POINT="Point", target_crs_epsg_code="4326")
        for band, name in enumerate(("latitude_offset", "longitude_offset"), 1):
            file.set_band_description(band, name)
            file.set_band_unit(band, "arc-second")
    return path


def opened_elsewhere(path: Path, environment: dict[str, str]) -> tuple[float, float, str, list[str]]:
    """Northern edge, accuracy, fingerprint and warnings of a photograph, in a process with this environment."""
    program = (
        "import json, sys; from tileserver.photo.source import Source; info = Source.open(sys.argv[1]).info; "
        "print(json.dumps([info.bounds_lonlat.top, info.position.accuracy_m, info.fingerprint, list(info.warnings)]))"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(path)]
    root = Path(__file__).parents[2]
    made = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    top, accuracy_m, fingerprint, found = json.loads(made.stdout)
    return top, accuracy_m, fingerprint, found


@pytest.mark.parametrize("where", ["PROJ_DATA", "pyproj sync", "PROJ_NETWORK"])
def test_a_grid_is_found_where_people_put_it(tmp_path: Path, where: str) -> None:
    photo = Photo(crs="EPSG:31467", origin=(3_400_000.0, 5_900_000.0), gsd_m=0.5, **SMALL)  # type: ignore[arg-type]
    path = write_photo(tmp_path / "old.tif", photo)
    before = Source.open(str(path)).info
    environment = clean_environment() | {"XDG_DATA_HOME": str(tmp_path / "home")}
    folder = write_grid(tmp_path / "home" / "proj" if where == "pyproj sync" else tmp_path / "grids").parent
    if where == "PROJ_DATA":
        environment["PROJ_DATA"] = str(folder)
    with served_files(folder) as url:
        if where == "PROJ_NETWORK":
            environment |= {"PROJ_NETWORK": "ON", "PROJ_NETWORK_ENDPOINT": url}
        top, accuracy_m, fingerprint, found = opened_elsewhere(path, environment)
    with rasterio.open(path) as file:
        north = rasterio.warp.transform_bounds(file.crs, "EPSG:4314", *file.bounds)[3]
    assert top == pytest.approx(north - 5 / 3600, abs=2e-6)
    assert abs(top - before.bounds_lonlat.top) > 1e-6
    assert (accuracy_m, found) == (1.0, [])
    assert fingerprint != before.fingerprint


def test_several_grids_are_asked_for_together(make_photo: MakePhoto) -> None:
    (warning,) = Source.open(str(make_photo(crs="EPSG:26718", gsd_m=0.5, **SMALL))).info.warnings
    assert " && " in warning.command  # type: ignore[attr-defined]
    assert all(part.startswith("pyproj sync --file ") for part in warning.command.split(" && "))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "words"), [("old.ecw", "gdal-ecw"), ("old.SID", "gdal-mrsid")])
def test_formats_that_need_other_drivers(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"\x65\x02" + os.urandom(64))
    refused(call("info", tmp_path / name), words, "gdal_translate -of COG")
    (tmp_path / "b.tif").write_bytes(write_sheet(tmp_path / "b.tif", 0, 0, RED).read_bytes())
    refused(call("info", tmp_path), words, name)
