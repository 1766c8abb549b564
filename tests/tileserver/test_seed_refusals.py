"""What `orthosharp seed` refuses: with a reason, exit code 2, and nothing touched."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from archive_contents import contents
from command_calls import refused, seed
from conftest import Photo, clean_environment, command_line, write_photo, write_tiny_weights
from private_mounts import private_mounts
from quick_cases import quick_cases
from seeded_photo import OPTIONS, OUTPUTS, SeededPhoto

from tileserver.jobs import disk


@pytest.mark.parametrize("name", OUTPUTS)
def test_other_tiles_are_refused_with_the_difference(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path, name: str
) -> None:
    before = contents(seeded.folder / name)
    output = seeded.folder / name
    refused(
        seed(seeded.source, output, tiny_weights, "--zooms", "12-18", "--format", "png"), "12-19, not 12-18"
    )
    refused(
        seed(seeded.source, output, tiny_weights, "--zooms", "12-19"), "format: png, not webp", "--overwrite"
    )
    other = write_tiny_weights(tmp_path / "w.safetensors", name="other")
    refused(seed(seeded.source, output, other, *OPTIONS), "model: tiny, not other", "weights: ")
    photo = write_photo(tmp_path / "photo.tif", Photo(seed=3))
    refused(seed(photo, output, tiny_weights, *OPTIONS), "source: old, not photo")
    assert contents(seeded.folder / name) == before


def test_refusals_touch_nothing(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    source, path = seeded.source, tmp_path / "a.mbtiles"
    refused(seed(source, path, tiny_weights, "--bbox", "10,10,11,11"), "does not intersect")
    refused(seed(source, path, tiny_weights, "--zooms", "12-25"), "zooms 0 to 21")
    refused(seed(source, path, tiny_weights, "--zooms", "high"), "12-19")
    refused(seed(source, path, tiny_weights, "--zooms", "19-12"), "ends before it begins")
    refused(seed(source, path, tiny_weights, "--bbox", "10,10,11,11", "--area", "a"), "one of them")
    refused(seed(source, path, tiny_weights, "--area", tmp_path / "none.geojson"), "none.geojson")
    refused(seed(source, path, tiny_weights, "--tms", "WorldCRS84Quad", "--dry-run"), "folder")
    refused(seed(source, path, tiny_weights, "--format", "png", "--quality", "5"), "--quality")
    refused(seed(source, path, tiny_weights, "--tms", "WorldCRS84Quad"), "folder")
    refused(seed(source, path, tiny_weights, "--tms", "Nowhere"), "--tms")
    refused(seed(source, tmp_path / "no" / "a.mbtiles", tiny_weights), "create it first")
    refused(seed(tmp_path / "none.tif", path, tiny_weights), "none.tif")
    refused(seed(source, "ftp://somewhere/tiles", tiny_weights), "s3://")
    assert not list(tmp_path.iterdir())


def test_foreign_files_are_refused_and_kept(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    """Neither with --overwrite; and neither where a journal would lie."""
    letter = b"Dear server" * 100
    for name in (
        "a.mbtiles",
        "a.pmtiles",
        "A.MBTILES",
        "letter.txt",
        "b.mbtiles.seeding",
        "b.pmtiles.seeding",
    ):
        path = tmp_path / name
        path.write_bytes(letter)
        output = path.with_name(name.removesuffix(".seeding"))
        refused(seed(seeded.source, output, tiny_weights, "--overwrite"), name)
        assert path.read_bytes() == letter
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_bytes(letter)
    refused(
        seed(seeded.source, tmp_path / "letters", tiny_weights, "--overwrite"), "one.txt", "another folder"
    )
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["one.txt"]


@pytest.mark.parametrize("name", ["a.mbtiles", "a.pmtiles"])
def test_an_archive_that_was_cut_off_is_not_taken_for_whole(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path, name: str
) -> None:
    whole = (seeded.folder / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[:-5000])
    refused(seed(seeded.source, path, tiny_weights, *OPTIONS), name, "move it away")
    assert path.read_bytes() == whole[:-5000]


@pytest.mark.parametrize("name", quick_cases(OUTPUTS, "a.mbtiles"))
def test_too_small_a_disk_is_said_before(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before anything that is to be replaced is touched; what is complete needs no room at all."""
    usage = shutil.disk_usage(tmp_path)._replace(free=10**5)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    refused(seed(seeded.source, tmp_path / name, tiny_weights, *OPTIONS), "100.0 kB", "make room")
    assert not list(tmp_path.iterdir())
    before = contents(seeded.folder / name)
    result = seed(seeded.source, seeded.folder / name, tiny_weights, *OPTIONS)
    assert (result.exit_code, "nothing to do" in result.stderr) == (0, True)
    refused(seed(seeded.source, seeded.folder / name, tiny_weights, *OPTIONS, "--overwrite"), "make room")
    assert contents(seeded.folder / name) == before
    seeded.archive(name).close()


def test_two_seeders_do_not_write_one_output(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mbtiles"
    seed(seeded.source, path, tiny_weights, *OPTIONS, "--time-limit", "0s")
    with closing(sqlite3.connect(tmp_path / "a.mbtiles.seeding")) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused(seed(seeded.source, path, tiny_weights, *OPTIONS), "another process")


@pytest.mark.slow
def test_a_read_only_folder_is_refused(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    network = ("--weights", tiny_weights, "--runtime", "openvino")
    commands = [("seed", "a.mbtiles"), ("seed", "folder"), ("restore", "a.tif")]
    for command, name in commands:
        shell = f'mount -t tmpfs -o ro none "{tmp_path}" && "$@"'
        line = [*private_mounts(), "sh", "-c", shell, "sh"]
        line += command_line(command, seeded.source, tmp_path / name, *network)
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=clean_environment())
        assert (done.returncode, "read-only" in done.stderr) == (2, True), done.stderr
