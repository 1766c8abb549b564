"""kill -9 at any moment: the next run goes on, and the end is what an uninterrupted run makes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archive_contents import contents
from conftest import Photo, clean_environment, command_line, write_photo, write_tiny_weights

KILLER = Path(__file__).with_name("seed_and_die.py")
ROOT = Path(__file__).parents[2]
OPTIONS = ("--zooms", "12-19", "--format", "png", "--runtime", "onnx")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph of six metatiles and tiny weights."""
    folder = tmp_path_factory.mktemp("kill")
    write_photo(folder / "old.tif", Photo(hole="mask"))
    write_tiny_weights(folder / "tiny.safetensors")
    return folder


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return clean_environment() | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture(scope="module")
def undisturbed(work: Path) -> dict[tuple[int, int, int], bytes]:
    command = command_line(
        "seed", work / "old.tif", work / "whole.pmtiles", "--weights", work / "tiny.safetensors"
    )
    subprocess.run([*command, *OPTIONS], check=True, env=environment(), timeout=600)
    return contents(work / "whole.pmtiles")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mbtiles", "a.pmtiles", "folder"])
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_statements(
    work: Path, undisturbed: dict[tuple[int, int, int], bytes], name: str, seed: int, tmp_path: Path
) -> None:
    output = tmp_path / name
    arguments = [work / "old.tif", output, "--weights", work / "tiny.safetensors", *OPTIONS]
    command = [sys.executable, str(KILLER), str(seed), "15", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=1800)
    assert result.returncode == 0, result.stderr
    kills, code = map(int, result.stdout.split())
    assert code == 0, result.stderr
    assert kills > 0
    assert contents(output) == undisturbed
    left = {path.name for path in tmp_path.rglob("*") if "seeding" in path.name or path.suffix == ".part"}
    assert not left


def test_a_full_disk_stops_the_run_and_the_next_one_ends_it(
    work: Path, undisturbed: dict[tuple[int, int, int], bytes], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: writes fail in the middle."""
    output = tmp_path / "a.mbtiles"
    command = command_line("seed", work / "old.tif", output, "--weights", work / "tiny.safetensors", *OPTIONS)

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=600, preexec_fn=narrow
    )
    assert result.returncode == 1, result.stderr
    assert "make room" in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()
    subprocess.run(command, check=True, env=environment(), timeout=600)
    assert contents(output) == undisturbed


def test_ctrl_c_and_sigterm_leave_130_and_the_next_run_ends_it(
    work: Path, undisturbed: dict[tuple[int, int, int], bytes], tmp_path: Path
) -> None:
    output = tmp_path / "a.mbtiles"
    command = command_line(
        "seed", work / "old.tif", output, "--weights", work / "tiny.safetensors", "--jobs", 1
    )
    journal = tmp_path / "a.mbtiles.seeding"

    def written() -> int:
        return journal.stat().st_mtime_ns if journal.exists() else 0

    for number in (signal.SIGTERM, signal.SIGINT):
        before = written()
        process = subprocess.Popen([*command, *OPTIONS], env=environment(), stderr=subprocess.PIPE, text=True)
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
    subprocess.run([*command, *OPTIONS], check=True, env=environment(), timeout=600)
    assert contents(output) == undisturbed
