"""What names itself, is not there, or lies in other units than its CRS gets an error that says so."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_calls import call, refused, restore, seed
from rasterio.crs import CRS
from rasterio.enums import WktVersion
from sheets_of_ground import RED, UTM, Shown, near, write_sheet, write_vrt

from tileserver.errors import SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.notice import code_of, command_of
from tileserver.photo.source import Source

GK3_WITHOUT_DATUM = (
    'PROJCS["unnamed",GEOGCS["Bessel 1841",DATUM["unknown",SPHEROID["Bessel 1841",6377397.155,299.1528128]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",1],'
    'PARAMETER["false_easting",3500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def stac(path: Path, href: str) -> None:
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "assets": {"a": {"href": href}}}))


def gti(path: Path, named: str) -> None:
    path.write_text(f"<GDALTileIndexDataset><IndexDataset>{named}</IndexDataset></GDALTileIndexDataset>")


def vrt(path: Path, named: str) -> None:
    path.write_text(write_vrt(path.with_name("a.vrt"), ["a"]).read_text().replace("a.tif", named))


def paths(path: Path, named: str) -> None:
    path.write_text(f"{named}\n{named}\n")


@pytest.mark.parametrize(("make", "suffix"), [(stac, "json"), (gti, "gti"), (vrt, "vrt"), (paths, "txt")])
@pytest.mark.parametrize("mutual", [False, True])
def test_a_file_that_names_itself_is_refused(tmp_path: Path, make: object, suffix: str, mutual: bool) -> None:
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    assert callable(make)
    make(first, second.name if mutual else first.name)
    make(second, first.name)
    refused(call("info", first), f".{suffix}")


@pytest.mark.parametrize("name", ["old.ecw", "old.sid", "sheets.fgb", "old.tif", "sheets.gpkg", "old.vrt"])
def test_what_is_not_there_is_not_asked_to_be_converted(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"there is no such file") as error:
        Source.open(str(tmp_path / name))
    assert "driver" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "first_bytes", "driver"),
    [
        ("old.ecw", b"e\x02\x00\x00", "ECW"),
        ("OLD.ECW", b"e\x02\x00\x00", "ECW"),
        ("old.sid", b"msid\x01\x00", "MrSID"),
        ("old.tif", b"msid\x01\x00", "MrSID"),
        ("old", b"msid\x01\x00", "MrSID"),
    ],
)
def test_formats_without_a_driver_get_the_command_that_converts_them(
    tmp_path: Path, tiny_weights: Path, name: str, first_bytes: bytes, driver: str
) -> None:
    path = tmp_path / name
    path.write_bytes(first_bytes + bytes(range(256)))
    hint = (f"{driver} needs a driver", f"package gdal-{driver.lower()}", "gdal_translate -of COG")
    refused(call("info", path), *hint)
    refused(call("serve", path, "--weights", tiny_weights, "--port", 0), *hint)
    refused(seed(path, tmp_path / "town.pmtiles", tiny_weights), *hint)
    refused(restore(path, tmp_path / "sharp.tif", tiny_weights), *hint)


def test_an_index_without_locations_says_so(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.gpkg")) as database:
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT)")
        database.execute("INSERT INTO gpkg_contents VALUES ('sheets', 'features')")
        database.execute("CREATE TABLE sheets (fid INTEGER, path TEXT)")
        database.commit()
    with pytest.raises(SourceError, match=r"column named location.*gdaltindex"):
        Source.open(str(tmp_path / "index.gpkg"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_a_prj_of_any_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = write_sheet(tmp_path / "old.tif", 0, 0, RED, crs=None)
    text = CRS.from_string(UTM).to_wkt(version=WktVersion.WKT1_ESRI).replace("WGS_1984_UTM", "München_UTM", 1)
    (tmp_path / "old.prj").write_bytes(text.encode(encoding))
    assert near(Shown(Source.open(str(path))).at(64, 64), RED)


def test_a_prj_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "old.tif", 0, 0, RED, crs=None)
    (tmp_path / "old.prj").write_text("not a CRS")
    with pytest.raises(SourceError, match=r"--crs EPSG:CODE, or replace old\.prj beside it"):
        Source.open(str(path))
    (tmp_path / "old.prj").unlink()
    (tmp_path / "old.prj").mkdir()
    with pytest.raises(SourceError, match=r"old\.prj"):
        Source.open(str(path))
    assert Source.open(str(path), placing=Placing(crs=UTM)).info.crs == CRS.from_string(UTM)


def test_coordinates_in_other_units_than_the_crs(tmp_path: Path) -> None:
    metres = write_sheet(tmp_path / "metres.tif", 0, 0, RED, crs=None)
    refused(
        call("info", metres, "--crs", "EPSG:4326"), "(620000, 4694923.2)", "not degrees", "--crs EPSG:CODE"
    )
    degrees = write_sheet(tmp_path / "degrees.tif", 0, 0, RED, crs=None, corner=(-73.5, 42.4), gsd_m=5e-6)
    refused(call("info", degrees, "--crs", UTM), "look like degrees", "--crs EPSG:4326")
    assert Source.open(str(degrees), placing=Placing(crs="EPSG:4326")).info.bounds.left == -73.5


def test_the_usual_crs_of_a_country_is_suggested(tmp_path: Path) -> None:
    path = write_sheet(
        tmp_path / "gk.tif", 0, 0, RED, crs=GK3_WITHOUT_DATUM, corner=(3_500_000.0, 5_600_000.0)
    )
    (warning,) = Source.open(str(path)).info.warnings
    assert code_of(warning) == "position-unknown"
    assert "EPSG:31467" in command_of(warning)
