"""Several maps, years and archives on one server: one catalogue, and what a command line means."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mercantile
import numpy as np
import pytest
import rasterio
from conftest import Photo, write_photo
from PIL import Image
from seeded_photo import SeededPhoto
from starlette.testclient import TestClient

from tileserver.cli.config_file import read_maps
from tileserver.errors import ArchiveError, SettingsError
from tileserver.photo.inputs.years import year_in, year_of
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.maps import ReloadableMaps, open_generation

WMTS = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}


@contextmanager
def serving(maps: dict[str, Settings]) -> Iterator[TestClient]:
    """Serve maps as `orthosharp serve` does."""
    first = next(iter(maps.values()))
    shared, admission = Shared(first), Admission(first)
    opened = open_generation(maps, shared, admission)
    application = ReloadableMaps(opened, shared, admission, lambda: open_generation(maps, shared, admission))
    with TestClient(application) as client:
        yield client


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[TestClient]:
    """Two years of the same ground."""
    folder = tmp_path_factory.mktemp("years")
    photos = [write_photo(folder / f"{year}.tif", Photo(seed=year)) for year in (1968, 1951)]
    given = {"source": tuple(map(str, photos)), "weights": tiny_weights, "runtime": "openvino"}
    with serving(read_maps(given, None)) as client:
        yield client


def test_all_maps_are_in_one_list(years: TestClient) -> None:
    listed = years.get("/maps").json()
    assert [(one["id"], one["year"], one["page"]) for one in listed["maps"]] == [
        ("1951", 1951, "http://testserver/1951/"),
        ("1968", 1968, "http://testserver/1968/"),
    ]
    identifiers = [layer["id"] for one in listed["maps"] for layer in one["layers"]]
    assert identifiers == [
        f"{year}-{name}" for year in (1951, 1968) for name in ("restored", "old", "difference")
    ]
    titles = [layer["title"] for one in listed["maps"] for layer in one["layers"]]
    assert len(set(titles)) == len(titles)
    for one in listed["maps"]:
        for layer in one["layers"]:
            document = years.get(layer["tilejson"]).json()
            assert document["tiles"][0].startswith(one["page"])
    assert years.get("/1968/maps").json() == listed


@pytest.mark.slow
def test_one_wmts_document_has_all_layers_of_all_maps(years: TestClient) -> None:
    for address in (years.get("/maps").json()["wmts"], "/1968/WMTSCapabilities.xml"):
        root = ET.fromstring(years.get(address).content)
        layers = root.findall("w:Contents/w:Layer", WMTS)
        names = [layer.findtext("ows:Identifier", "", WMTS) for layer in layers]
        assert len(names) == len(set(names)) == 6
        assert {"1951-restored", "1968-old"} <= set(names)
        assert len({layer.findtext("ows:Title", "", WMTS) for layer in layers}) == 6
        sets = [found.text for found in root.findall("w:Contents/w:TileMatrixSet/ows:Identifier", WMTS)]
        assert len(sets) == len(set(sets))
        for layer in layers:
            template = str(layer.find("w:ResourceURL", WMTS).get("template"))  # type: ignore[union-attr]
            limits = layer.findall("w:TileMatrixSetLink[1]/w:TileMatrixSetLimits/w:TileMatrixLimits", WMTS)[
                -1
            ]
            values = {
                name: limits.findtext(f"w:{name}", "", WMTS)
                for name in ("TileMatrix", "MinTileRow", "MinTileCol")
            }
            url = template.replace("{TileMatrixSet}", "WebMercatorQuad").replace(
                "{TileMatrix}", values["TileMatrix"]
            )
            url = url.replace("{TileCol}", values["MinTileCol"]).replace("{TileRow}", values["MinTileRow"])
            assert years.get(url).status_code == 200


def test_the_page_of_each_map_knows_the_others(years: TestClient) -> None:
    at_root = years.get("/config.json").json()
    assert [(one["id"], one["href"]) for one in at_root["maps"]] == [("1951", "./"), ("1968", "1968/")]
    below = years.get("/1968/config.json").json()
    assert [(one["id"], one["href"]) for one in below["maps"]] == [("1951", "../1951/"), ("1968", "./")]
    for config in (at_root, below):
        for one in config["maps"]:
            assert one["tiles"]["old"].startswith(f"{one['root_path']}/old/")
    single = below["maps"][1]
    assert single["root_path"] == "/1968"


@pytest.mark.parametrize("name", ["a.pmtiles", "a.mbtiles"])
def test_an_archive_is_a_map_without_photograph_or_network(
    seeded: SeededPhoto, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tileserver.web.maps.TileService", None)
    with serving({"map": Settings(source=str(seeded.folder / name))}) as client:
        config = client.get("/config.json").json()
        assert config["layers"] == ["restored"]
        assert config["has_files"] is False
        assert config["credit"] == "Test Survey <1998>"
        assert "AI-restored by tiny" in config["ai_notice"]
        assert config["bounds"] == pytest.approx(seeded.bounds, abs=1e-6)
        assert (config["minzoom"], config["maxzoom"]) == (12, 19)
        assert client.get("/").headers["content-type"].startswith("text/html")
        tile = _middle(config)
        answer = client.get(f"/restored/tiles/WebMercatorQuad/{tile}.png")
        with closing(seeded.archive(name)) as archive:
            assert answer.content == archive.get(*map(int, tile.split("/")))
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-orthosharp"].startswith("AI-restored; model=tiny")
        again = client.get(f"/tiles/{tile}.png", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert client.get(f"/tiles/{tile}@2x.png").content == answer.content
        assert client.get(f"/tiles/{tile}").content == answer.content
        beside = client.get("/tiles/12/0/0.png")
        assert (beside.status_code, beside.headers["content-type"]) == (200, "image/png")
        assert np.asarray(Image.open(io.BytesIO(beside.content)).convert("RGBA"))[..., 3].max() == 0
        for missing in ("/tiles/40/0/0.png", f"/tiles/{tile}.webp", "/old/tiles/WebMercatorQuad/1/0/0.png"):
            assert client.get(missing).status_code == 404
        assert client.get("/readyz").json() == {"status": "ready"}
        document = client.get("/tilejson.json").json()
        assert document["tiles"] == ["http://testserver/restored/tiles/WebMercatorQuad/{z}/{x}/{y}.png"]
        names = ET.fromstring(client.get("/WMTSCapabilities.xml").content).findall(
            ".//w:Layer/ows:Identifier", WMTS
        )
        assert [found.text for found in names] == ["restored"]


@pytest.mark.parametrize(("outside", "status"), [("404", 404), ("204", 204), ("transparent", 200)])
def test_an_archive_obeys_what_is_said_of_the_ground_beside_it(
    seeded: SeededPhoto, outside: str, status: int
) -> None:
    with serving({"map": Settings(source=str(seeded.folder / "a.pmtiles"), outside=outside)}) as client:
        assert client.get("/tiles/12/0/0.png").status_code == status


def test_an_archive_has_a_wmts_and_says_that_it_has_no_wms(seeded: SeededPhoto) -> None:
    """At the root and at its own address, as of other maps: programs get XML, not a page."""
    with serving({"map": Settings(source=str(seeded.folder / "a.mbtiles"))}) as client:
        tile = _middle(client.get("/config.json").json())
        z, x, y = tile.split("/")
        wanted = client.get(f"/tiles/{tile}.png")
        for path in ("/", "/wmts"):
            ask = f"{path}?service=WMTS&version=1.0.0&request="
            root = ET.fromstring(client.get(f"{ask}GetCapabilities").content)
            assert [one.text for one in root.findall(".//w:Layer/ows:Identifier", WMTS)] == ["restored"]
            get = root.find(".//ows:Operation[@name='GetTile']//ows:Get", WMTS)
            assert get is not None
            assert get.get("{http://www.w3.org/1999/xlink}href") == "http://testserver/wmts?"
            query = "GetTile&layer=restored&style=default&tilematrixset=WebMercatorQuad&format=image/png"
            answer = client.get(f"{ask}{query}&tilematrix={z}&tilecol={x}&tilerow={y}")
            assert answer.content == wanted.content
            assert answer.headers["x-orthosharp"] == wanted.headers["x-orthosharp"]
            wrong = client.get(f"{ask}{query}&tilematrix=99&tilecol=0&tilerow=0")
            assert (wrong.status_code, b"TileOutOfRange" in wrong.content) == (404, True)
        for path in ("/?SERVICE=WMS&REQUEST=GetCapabilities", "/wms?REQUEST=GetMap&VERSION=1.1.1"):
            refused = client.get(path)
            assert refused.status_code == 400
            assert b"ServiceException" in refused.content
            assert b"WMTS" in refused.content


def _middle(config: dict[str, object]) -> str:
    """Path of the tile in the middle of a map, at its last zoom."""
    west, south, east, north = config["bounds"]  # type: ignore[misc]
    tile = mercantile.tile((west + east) / 2, (south + north) / 2, config["maxzoom"])
    return f"{tile.z}/{tile.x}/{tile.y}"


def test_a_damaged_archive_is_refused(seeded: SeededPhoto, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pmtiles"
    cut.write_bytes((seeded.folder / "a.pmtiles").read_bytes()[:140])
    settings = Settings(source=str(cut))
    with pytest.raises(ArchiveError):
        open_generation({"map": settings}, Shared(settings), Admission(settings))


def test_archives_of_several_years_are_several_maps(seeded: SeededPhoto, tmp_path: Path) -> None:
    paths = [tmp_path / f"town-{year}.pmtiles" for year in (1968, 1951)]
    for path in paths:
        path.write_bytes((seeded.folder / "a.pmtiles").read_bytes())
    with serving(read_maps({"source": tuple(map(str, paths))}, None)) as client:
        assert [(one["id"], one["year"]) for one in client.get("/maps").json()["maps"]] == [
            ("1951", 1951),
            ("1968", 1968),
        ]


# What a command line means


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1951", 1951),
        ("ortho_1951_rgb", 1951),
        ("19510612", 1951),
        ("dop-1968-05-01", 1968),
        ("2017", 2017),
        ("flight 1951, printed 1960", None),
        ("tile_1855_442019", 1855),
        ("123456", None),
        ("1700", None),
        ("", None),
    ],
)
def test_years_in_names(text: str, year: int | None) -> None:
    assert year_in(text) == year


def test_years_in_tags(make_photo: Callable[..., Path]) -> None:
    path = make_photo("town")
    assert year_of(str(path)) is None
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2019:01:01 00:00:00")
    assert year_of(str(path)) is None, "the date of a scan is not the photograph's"
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="1951-06-12 10:00:00")
    assert year_of(str(path)) == 1951


def names_of(*sources: Path) -> list[str]:
    return list(read_maps({"source": tuple(map(str, sources))}, None))


def test_photographs_of_the_same_ground_are_years_and_others_are_sheets(
    make_photo: Callable[..., Path],
) -> None:
    one, other = make_photo("1951"), make_photo("1968", seed=2)
    beside = make_photo("1985", origin=(620_000 + 640 * 0.6, 4_695_000.0))
    assert names_of(other, one) == ["1951", "1968"]
    assert names_of(one, beside) == ["map"], "sheets whose numbers look like years"
    assert names_of(one, make_photo("sheet")) == ["map"]
    assert names_of(one) == ["map"]


def test_a_folder_has_a_mosaic_for_each_year(make_photo: Callable[..., Path], tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    for year in (1951, 1968):
        (archive / str(year)).mkdir(parents=True)
        for place in (0, 1):
            sheet = make_photo(f"{place}", origin=(620_000 + place * 384, 4_695_000.0), seed=year)
            sheet.rename(archive / str(year) / f"sheet{place}.tif")
    assert names_of(archive) == ["1951", "1968"]
    assert names_of(archive / "1951") == ["map"]
    flat = tmp_path / "flat"
    flat.mkdir()
    for year in (1998, 1985):
        make_photo("p", seed=year).rename(flat / f"{year}.tif")
    assert names_of(flat) == ["1985", "1998"]


def test_more_years_than_a_page_can_show_are_refused(tmp_path: Path) -> None:
    for year in range(1900, 1961):
        (tmp_path / f"{year}.pmtiles").touch()
    with pytest.raises(SettingsError, match="serve 60 at most"):
        read_maps({"source": str(tmp_path)}, None)
