"""A server with `--store X.mbtiles|X.pmtiles` answers what is in the archive, low zooms included."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from archive_contents import contents
from conftest import Photo, clean_environment, command_line, running_server, write_photo

Contents = dict[tuple[int, int, int], bytes]
FINISH = ("--contrast", 1.2, "--tone", "old")
pytestmark = pytest.mark.slow
# Of each zoom.
SAMPLE = 4
# From here on metatiles fill tiles, and a server that has no archive makes the same ones.
MIN_METATILE_ZOOM = 17


@dataclass(frozen=True)
class Seeded:
    """A photograph seeded into both kinds of archive and a folder, and how to serve it."""

    source: Path
    weights: Path
    folder: Path
    tiles: Contents

    @property
    def arguments(self) -> tuple[object, ...]:
        return (self.source, "--weights", self.weights, "--runtime", "openvino")

    @property
    def sample(self) -> Contents:
        """Some tiles of every zoom, spread over the photograph."""
        chosen: Contents = {}
        for zoom in sorted({place[0] for place in self.tiles}):
            places = sorted(place for place in self.tiles if place[0] == zoom)
            chosen |= {place: self.tiles[place] for place in places[:: max(1, len(places) // SAMPLE)]}
        return chosen


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Seeded:
    folder = tmp_path_factory.mktemp("seeded")
    made = Seeded(write_photo(folder / "old.tif", Photo(hole="mask")), tiny_weights, folder, {})
    for name in ("a.mbtiles", "a.pmtiles", "folder"):
        command = command_line(
            "seed",
            made.source,
            folder / name,
            *made.arguments[1:],
            "--zooms",
            "12-19",
            "--format",
            "png",
            *FINISH,
        )
        subprocess.run(command, check=True, env=clean_environment(), capture_output=True, timeout=300)
        made.tiles.update(contents(folder / name))
    return made


def answers(url: str, sample: Contents) -> Iterator[tuple[tuple[int, int, int], httpx.Response]]:
    with httpx.Client(base_url=url, timeout=60) as client:
        for z, x, y in sample:
            yield (z, x, y), client.get(f"/tiles/{z}/{x}/{y}.png")


@pytest.fixture(scope="module")
def on_demand(seeded: Seeded) -> dict[tuple[int, int, int], httpx.Response]:
    with running_server(*seeded.arguments, *FINISH) as server:
        return dict(answers(server.url, seeded.sample))


@pytest.mark.parametrize("name", ["a.mbtiles", "a.pmtiles"])
def test_tiles_of_the_server_the_archive_and_the_folder_are_equal(
    seeded: Seeded, name: str, on_demand: dict[tuple[int, int, int], httpx.Response]
) -> None:
    archive, folder = contents(seeded.folder / name), contents(seeded.folder / "folder")
    before = (seeded.folder / name).read_bytes()
    checked, others = set(), 0
    with running_server(*seeded.arguments, *FINISH, "--store", seeded.folder / name) as server:
        for place, answer in answers(server.url, seeded.sample):
            assert answer.status_code == 200
            assert answer.content == archive[place] == folder[place], place
            again = on_demand[place]
            if place[0] >= MIN_METATILE_ZOOM:
                assert again.content == answer.content, place
            elif again.content != answer.content:
                others += 1
                assert again.headers["etag"] != answer.headers["etag"]
            checked.add(place[0])
        z, x, y = min(seeded.sample)
        etag = httpx.get(f"{server.url}/tiles/{z}/{x}/{y}.png").headers["etag"]
        headers = {"If-None-Match": etag}
        assert httpx.get(f"{server.url}/tiles/{z}/{x}/{y}.png", headers=headers).status_code == 304
        # What the archive has not is made as ever.
        webp = httpx.get(f"{server.url}/tiles/{z}/{x}/{y}.webp", timeout=60)
        assert (webp.status_code, webp.headers["content-type"]) == (200, "image/webp")
    assert checked == set(range(12, 20))
    assert others, "low zooms of an archive are not those that a server makes by itself"
    assert (seeded.folder / name).read_bytes() == before


def test_an_archive_of_other_tiles_is_refused_with_the_difference(seeded: Seeded) -> None:
    command = command_line("serve", *seeded.arguments, "--store", seeded.folder / "a.pmtiles", "--port", 0)
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=120)
    assert result.returncode == 2
    assert "contrast: 1.2, not 1.0" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["none.pmtiles", "old.tif.mbtiles"])
def test_files_other_than_archives_are_refused(seeded: Seeded, tmp_path: Path, name: str) -> None:
    if name.startswith("old"):
        (tmp_path / name).write_text("Dear server")
    command = command_line("serve", *seeded.arguments, "--store", tmp_path / name, "--port", 0)
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=120)
    assert result.returncode == 2
    assert name in result.stderr
    assert "Traceback" not in result.stderr
