"""kill -9 at any moment, or a full disk: the next run goes on, and the end is what an uninterrupted run makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
from archive_contents import contents
from conftest import Photo, clean_environment, command_line, write_photo, write_tiny_weights
from private_mounts import private_mounts
from rio_cogeo.cogeo import cog_validate

KILLER, SMALL_DISK = (Path(__file__).with_name(name) for name in ("work_and_die.py", "small_disk.py"))
ROOT = Path(__file__).parents[2]
SEED = ("seed", "--zooms", "12-19", "--format", "png")
CHIPS = ("restore", "--chips", "300")
# Name of the output, and the command that makes it.
KINDS = {
    "a.mbtiles": SEED,
    "a.pmtiles": SEED,
    "folder": SEED,
    "a.tif": ("restore",),
    "chips": CHIPS,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph of six metatiles and tiny weights."""
    folder = tmp_path_factory.mktemp("work")
    write_photo(folder / "old.tif", Photo(hole="mask"))
    write_tiny_weights(folder / "tiny.safetensors")
    return folder


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return clean_environment() | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def arguments(work: Path, output: Path) -> list[str]:
    command, *options = KINDS[output.name]
    weights = work / "tiny.safetensors"
    made = [command, work / "old.tif", output, "--weights", weights, "--runtime", "openvino", *options]
    return [str(argument) for argument in made]


def made_of(path: Path) -> object:
    """What is in an output, but for the date when it was made."""
    if path.suffix == ".tif":
        assert cog_validate(path, strict=True)[0]
        with rasterio.open(path) as dataset:
            tags = {key: value for key, value in dataset.tags().items() if "DATE" not in key}
            return dataset.read().tobytes(), dataset.dataset_mask().tobytes(), dataset.overviews(1), tags
    if path.name == "chips":
        return {
            file.name: file.read_bytes() for file in path.iterdir() if file.suffix not in (".xml", ".json")
        }
    return contents(path)


@pytest.fixture(scope="module")
def undisturbed(work: Path) -> Callable[[str], Any]:
    """What an uninterrupted run makes, by the output's name."""
    found: dict[str, object] = {}

    def get(name: str) -> object:
        kind = "a.pmtiles" if KINDS[name] == SEED else name
        if kind not in found:
            path = work / "whole" / kind
            path.parent.mkdir(exist_ok=True)
            subprocess.run(command_line(*arguments(work, path)), check=True, env=environment(), timeout=600)
            found[kind] = made_of(path)
        return found[kind]

    return get


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_steps_and_moments(
    work: Path, undisturbed: Callable[[str], Any], name: str, seed: int, tmp_path: Path
) -> None:
    output = tmp_path / name
    command = [sys.executable, str(KILLER), str(seed), "15", *arguments(work, output)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=1800)
    assert result.returncode == 0, result.stderr
    kills, code = map(int, result.stdout.split())
    assert code == 0, result.stderr
    assert kills > 0
    assert made_of(output) == undisturbed(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    unfinished = (".part", ".tmp")
    left = {path.name for path in tmp_path.rglob("*") if "seeding" in path.name or path.suffix in unfinished}
    assert not left


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_disk_that_is_full_again_and_again(
    work: Path, undisturbed: Callable[[str], Any], name: str, tmp_path: Path
) -> None:
    """Every run gets a little further, says why it stops, and leaves nothing half under the final name."""
    namespace = private_mounts()
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    script = [sys.executable, str(SMALL_DISK), str(disk), str(copy), *arguments(work, disk / name)]
    result = subprocess.run(
        [*namespace, *script], capture_output=True, text=True, env=environment(), timeout=1800, check=False
    )
    assert result.returncode == 0, result.stderr
    *before, last = map(int, result.stdout.split())
    assert last == 0
    assert len(before) > 0
    assert set(before) == {1}
    assert made_of(copy / name) == undisturbed(name)
    assert [path.name for path in copy.iterdir()] == [name]


@pytest.mark.slow
def test_ctrl_c_and_sigterm_leave_130_and_the_next_run_ends_it(
    work: Path, undisturbed: Callable[[str], Any], tmp_path: Path
) -> None:
    output = tmp_path / "a.mbtiles"
    command = command_line(*arguments(work, output))
    journal = tmp_path / "a.mbtiles.seeding"

    def written() -> int:
        return journal.stat().st_mtime_ns if journal.exists() else 0

    for number in (signal.SIGTERM, signal.SIGINT):
        before = written()
        process = subprocess.Popen(
            [*command, "--jobs", "1"], env=environment(), stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        # The second run finds the first one's journal: a write tells that it is at work.
        while written() == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        stderr = process.communicate(timeout=120)[1]
        assert process.returncode == 130, stderr
        assert "run the same command again" in stderr
        assert not output.exists()
    subprocess.run(command, check=True, env=environment(), timeout=600)
    assert contents(output) == undisturbed("a.mbtiles")
