"""Help, refusals and the card of `info` come at once, and Ctrl-C is quiet from the first moment.

Seconds depend on the machine, so that what is loaded is checked by name.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment

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
