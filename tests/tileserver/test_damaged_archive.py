"""A seeded archive with damage: such tiles are made anew, and it is told and counted."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_contents import contents
from click.testing import CliRunner
from conftest import Photo, write_photo
from starlette.testclient import TestClient

from tileserver.cli.main import main
from tileserver.service import TileRequest, TileService
from tileserver.tiling.grid import TileAddress
from tileserver.web.app import create_app

MakeService = Callable[..., TileService]
NAMES = ["a.mbtiles", "a.pmtiles"]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """Folder with a small photograph and both kinds of archive of it."""
    folder = tmp_path_factory.mktemp("damaged")
    source = write_photo(folder / "old.tif", Photo(width=256, height=200))
    for name in NAMES:
        words = ["seed", source, folder / name, "--weights", tiny_weights, "--runtime", "openvino"]
        result = CliRunner().invoke(
            main, [*map(str, words), "--zooms", "16-19", "--format", "png", "--no-ai-mark"]
        )
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def serve(make_service: MakeService, seeded: Path, tmp_path: Path) -> Callable[[str, bytes], TileService]:
    """Makes a service whose archive has its first bytes that are equal to some others overwritten."""

    def make(name: str, where: bytes) -> TileService:
        path = Path(shutil.copy(seeded / name, tmp_path / name))
        data = path.read_bytes()
        at = data.index(where)
        path.write_bytes(data[:at] + bytes(len(where)) + data[at + len(where) :])
        # Marked tiles would all begin with the same bytes.
        return make_service(source=str(seeded / "old.tif"), store=str(path), ai_mark=False)

    return make


def counted(service: TileService) -> float:
    value: float = service.metrics.store_errors.labels("damaged")._value.get()
    return value


def request(place: tuple[int, int, int]) -> TileRequest:
    return TileRequest("restored", "WebMercatorQuad", TileAddress(*place), "png")


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_tile_is_made_anew_and_the_others_are_served(
    seeded: Path, serve: Callable[[str, bytes], TileService], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "orthosharp")
    tiles = contents(seeded / name)
    wrong, right = sorted(place for place in tiles if place[0] == 19)[:2]
    service = serve(name, tiles[wrong][:60])
    client = TestClient(create_app(service.settings, service))
    for _ in range(2):
        answer = client.get("/tiles/{}/{}/{}.png".format(*wrong))
        assert answer.status_code == 200
        assert answer.content == tiles[wrong], "the render path is the seeder's"
        assert service.key(request(wrong)).digest not in answer.headers["etag"]
    assert service.metrics.inferences._value.get() == 1
    assert counted(service) == 2
    found = service.tile(request(right))
    assert (found.body, found.hit) == (tiles[right], True)
    assert service.key(request(right)).digest in found.etag
    assert sum("archive is damaged" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_directory_costs_speed_and_no_tile(
    seeded: Path, serve: Callable[[str, bytes], TileService], name: str
) -> None:
    tiles = contents(seeded / name)
    data = (seeded / name).read_bytes()
    # The root directory of PMTiles follows its header; SQLite's pages of indices begin with 10 or 2.
    if name.endswith("pmtiles"):
        where = data[130:150]
    else:
        page = int.from_bytes(data[16:18], "big")
        pages = [data[start : start + page] for start in range(page, len(data), page)]
        where = next(one for one in pages if one[0] == 10 and one.count(b"\x13") > 10)
    service = serve(name, where)
    place = max(tiles)
    assert service.tile(request(place)).body == tiles[place]
    assert counted(service) == 1


def test_an_archive_that_is_cut_short_while_it_is_served(
    make_service: MakeService, seeded: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(seeded / "a.pmtiles", tmp_path))
    service = make_service(source=str(seeded / "old.tif"), store=str(path), ai_mark=False)
    tiles = contents(path)
    with path.open("r+b") as file:
        file.truncate(200)
    place = max(tiles)
    assert service.tile(request(place)).body == tiles[place]
    assert counted(service) == 1
