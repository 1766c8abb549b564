"""Help, refusals and the card of `info` come at once, and Ctrl-C is quiet from the first moment.

Seconds depend on the machine, so that what is loaded is checked by name.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_calls import refused, seed
from conftest import clean_environment, running_server

ROOT = Path(__file__).parents[1]
# Each takes a tenth of a second or more.
HEAVY = {
    "fastapi",
    "httpx",
    "morecantile",
    "numpy",
    "obstore",
    "openvino",
    "PIL",
    "pyproj",
    "rasterio",
    "rich",
    "rio_tiler",
    "safetensors",
    "scipy",
    "shapely",
    "starlette",
    "titiler",
    "torch",
    "uvicorn",
}
LOADED = """
import sys
from tileserver.cli.entry import run
sys.argv = ["orthosharp", *sys.argv[1:]]
try:
    run()
except SystemExit as ended:
    code = ended.code or 0
print("LOADED", code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def environment() -> dict[str, str]:
    return clean_environment() | {"PYTHONPATH": str(ROOT)}


def loaded_by(*arguments: object) -> tuple[int, set[str], str]:
    """Exit code of a command, the libraries that it loaded, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    said, _, loaded = done.stderr.partition("LOADED ")
    code, *names = loaded.split()
    return int(code), set(names), said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *[[command, "--help"] for command in ("serve", "seed", "restore", "info")],
        ["cache", "clean", "--help"],
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code, loaded, said = loaded_by(*arguments)
    assert (code, said) == (0, "")
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["serve", "no.tif"], "no such file"),
        (["serve"], "no photograph given"),
        (["serve", "old.tif", "--port", "99999"], "--port"),
        (["serve", "old.tif", "--demo"], "SOURCE and --demo"),
        (["serve", "old.tif", "--bands", "1,2"], "--bands"),
        (["seed", "no.tif", "x.pmtiles"], "no such file"),
        (["seed", "old.tif", "x.xyz.zip"], "ends in .zip"),
        (["restore", "no.tif", "x.tif"], "no such file"),
        (["info", "no.tif"], "no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals_load_nothing_heavy(arguments: list[str], reason: str) -> None:
    code, loaded, said = loaded_by(*arguments)
    assert code == 2
    assert reason in said
    assert not loaded & HEAVY


def test_the_card_of_a_photograph_loads_no_network(photo: Path) -> None:
    code, loaded, said = loaded_by("info", photo, "--no-estimate")
    assert code == 0, said
    assert not loaded & {"fastapi", "obstore", "openvino", "starlette", "titiler", "torch", "uvicorn"}


def has_mapped(process: subprocess.Popen[str], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="moments are told by /proc")
@pytest.mark.parametrize("command", ["serve", "seed"])
@pytest.mark.parametrize("library", ["_pydantic_core", "rasterio/_base", "scipy/ndimage", "libopenvino.so"])
def test_ctrl_c_is_quiet_while_libraries_are_loaded(
    command: str, library: str, photo: Path, tmp_path: Path
) -> None:
    """From the first import to the warm-up of the network."""
    more = ["--port", "0"] if command == "serve" else [str(tmp_path / "tiles")]
    line = [sys.executable, "-m", "tileserver.cli.entry", command, str(photo), *more]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        while not has_mapped(process, library):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    for line in said.splitlines():
        assert line.startswith(("Warming up", "orthosharp: interrupted; run the same command again")), said


def test_ctrl_c_ends_a_server_with_130(photo: Path, tiny_weights: Path) -> None:
    with running_server(photo, "--weights", tiny_weights, "--runtime", "openvino") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 130
        assert server.process.stdout is not None
        assert "Traceback" not in server.process.stdout.read()


@pytest.mark.parametrize("name", ["x.xyz.zip", "tiles.TIF", "town.pmtile"])
def test_seed_makes_no_folder_that_is_named_like_a_file(
    name: str, photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    refused(seed(photo, tmp_path / name, tiny_weights), name, "name a folder")
    assert not (tmp_path / name).exists()
    # A folder that is there was meant.
    (tmp_path / name).mkdir()
    assert seed(photo, tmp_path / name, tiny_weights, "--zooms", "12").exit_code == 0
    assert (tmp_path / name / "tilejson.json").exists()
