"""Names of photographs in files and URLs, and STAC items with credit and date."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_calls import call, refused, restore
from range_server import served_files
from sheets_of_ground import GREEN, RED, Shown, near, write_sheet

from tileserver.attribution import attribution, title
from tileserver.errors import SourceError
from tileserver.photo.source import Source
from tileserver.service import TileService


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that it is served under."""
    folder = tmp_path / "served"
    folder.mkdir()
    with served_files(folder) as url:
        yield folder, url


@pytest.mark.parametrize(
    "name", ["photo 1.tif", "photo%201.tif", "photo?1.tif", "photo#1.tif", "Straße é.tif", "[1].tif"]
)
def test_local_names_are_what_they_are(tmp_path: Path, name: str) -> None:
    source = Source.open(str(write_sheet(tmp_path / name, 0, 0, RED)))
    assert source.info.name == name.removesuffix(".tif")
    assert near(Shown(source).at(64, 64), RED)


@pytest.mark.parametrize(
    ("name", "quoted", "shown"),
    [
        ("photo 1.tif", "photo%201.tif", "photo 1"),
        ("a%201.tif", "a%25201.tif", "a%201"),
        ("old.tif", "old.tif?sig=secret.x", "old"),
        ("é.tif", "%C3%A9.tif", "é"),
    ],
)
def test_names_in_urls_are_decoded(files: tuple[Path, str], name: str, quoted: str, shown: str) -> None:
    folder, url = files
    write_sheet(folder / name, 0, 0, RED)
    source = Source.open(f"{url}/{quoted}")
    assert source.info.name == shown
    assert near(Shown(source).at(64, 64), RED)


def item(**changes: Any) -> dict[str, Any]:
    providers = [
        {"name": "Survey of A", "roles": ["producer", "licensor"]},
        {"name": "Cloud host", "roles": ["host"]},
    ]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "town-1954",
        "properties": {"datetime": "1954-05-17T00:00:00Z", "providers": providers},
        "assets": {
            "red": {"href": "red%201.tif", "roles": ["data"]},
            "green": {"href": "./green.tif", "roles": ["visual"]},
            "thumbnail": {"href": "t.png", "roles": ["thumbnail"]},
        },
        **changes,
    }


def write_item(folder: Path, **changes: Any) -> Path:
    write_sheet(folder / "red%201.tif", 0, 0, RED)
    write_sheet(folder / "green.tif", 0, 0, GREEN)
    path = folder / "item.json"
    path.write_text(json.dumps(item(**changes)))
    return path


def test_a_stac_item_has_credit_and_date(tmp_path: Path, make_service: Callable[..., TileService]) -> None:
    path = write_item(tmp_path)
    service = make_service(source=f"{path}#red")
    info = service.old.info
    assert (info.name, info.date) == ("town-1954", "1954-05-17")
    assert near(Shown(service.old).at(64, 64), RED)
    assert title(service) == "town-1954"
    assert attribution(service, "old") == "Survey of A, 1954-05-17"
    # An asset need not be named where one is meant to be looked at.
    assert near(Shown(Source.open(str(path))).at(64, 64), GREEN)
    assert str(path) in info.files


def test_a_stac_item_behind_a_url(files: tuple[Path, str]) -> None:
    folder, url = files
    write_item(folder)
    write_sheet(folder / "red 1.tif", 0, 0, RED)
    source = Source.open(f"{url}/item.json#red")
    assert near(Shown(source).at(64, 64), RED)
    assert source.info.credit == "Survey of A, 1954-05-17"


def test_a_restored_stac_item_names_its_owner(tmp_path: Path, tiny_weights: Path) -> None:
    import rasterio

    result = restore(f"{write_item(tmp_path)}#green", tmp_path / "x.tif", tiny_weights)
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "x.tif") as made:
        assert made.tags()["CREDIT"] == "Survey of A, 1954-05-17"
        assert made.tags()["SOURCE"] == "town-1954"


def test_a_span_of_dates(tmp_path: Path) -> None:
    span = {
        "datetime": None,
        "start_datetime": "1954-05-01T00:00:00Z",
        "end_datetime": "1955-06-30T00:00:00Z",
    }
    info = Source.open(f"{write_item(tmp_path, properties=span)}#red").info
    assert info.date == "1954-05-01/1955-06-30"


@pytest.mark.parametrize(
    ("changes", "asset", "words"),
    [
        ({}, "#blue", "has no asset 'blue': it has green, red, thumbnail"),
        ({"type": "Catalog"}, "#red", "not a STAC item"),
        ({"assets": {"a": {"href": "a.tif"}, "b": {"href": "b.tif"}}}, "", "several assets"),
        ({"assets": {"a": {}}}, "#a", "no href"),
    ],
)
def test_items_that_name_no_photograph(
    tmp_path: Path, changes: dict[str, Any], asset: str, words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        Source.open(f"{write_item(tmp_path, **changes)}{asset}")


def test_an_item_that_cannot_be_reached(files: tuple[Path, str], tmp_path: Path) -> None:
    refused(call("info", f"{files[1]}/none.json#red"), "none.json", "STAC")
    refused(call("info", tmp_path / "none.json"), "none.json")
    (tmp_path / "broken.json").write_text("{")
    refused(call("info", f"{tmp_path}/broken.json#a"), "broken.json")


def test_a_quoted_href_beside_a_local_item(tmp_path: Path) -> None:
    path = write_item(tmp_path)
    (tmp_path / "red%201.tif").rename(tmp_path / "red 1.tif")
    source = Source.open(f"{path}#red")
    assert near(Shown(source).at(64, 64), RED)
