"""The public interface: what docs/api.md names exists, its examples run, and an import loads nothing heavy."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import mercantile
import pytest
from PIL import Image
from starlette.testclient import TestClient

import sr_model
import tileserver
import training
from training.cli.main import main as orthosharp_train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text()
PACKAGES = {"tileserver": tileserver, "sr_model": sr_model, "training": training}
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def section(package: str) -> str:
    """What the page says about a package."""
    return PAGE.split(f"\n## {package}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists(package: str) -> None:
    module = PACKAGES[package]
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        module.missing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_names_the_public_interface_and_nothing_else(package: str) -> None:
    rows = re.findall(r"^\| (`.+?) \|", section(package), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)(?=[`(])", row)}
    described = {name for name in re.findall(r"`(\w+)", section(package)) if name.endswith("Error")}
    assert named | described == set(PACKAGES[package].__all__) - {"__version__"}


def test_the_page_lists_every_command_of_training() -> None:
    rows = re.findall(r"^\| `orthosharp-train ([\w-]+)` \|", section("training"), re.MULTILINE)
    assert set(rows) == set(orthosharp_train.commands)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_use_public_names_only(example: str) -> None:
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES:
            assert {alias.name for alias in node.names} <= set(PACKAGES[node.module].__all__)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in PACKAGES


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(
    example: str, photo: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(photo, tmp_path / "old.tif")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORTHOSHARP_WEIGHTS", str(tiny_weights))
    monkeypatch.setenv("ORTHOSHARP_RUNTIME", "openvino")
    names: dict[str, object] = {}
    exec(compile(example, "api.md", "exec"), names)
    if "app" in names:
        names["app"].state.close()  # type: ignore[attr-defined]
    if "tile" in names:
        with Image.open(tmp_path / "tile.png") as picture:
            assert picture.size == (256, 256)


def test_importing_loads_nothing_heavy() -> None:
    heavy = {"torch", "openvino", "rasterio", "fastapi", "numpy"}
    program = f"import sys, tileserver, training; sys.exit(str({heavy!r} & set(sys.modules) or ''))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.strip() == ""


def test_every_name_comes_without_torch_and_openvino() -> None:
    program = (
        "import sys, tileserver\n"
        "for name in tileserver.__all__: getattr(tileserver, name)\n"
        "sys.exit(str({'torch', 'openvino'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.strip() == ""


@pytest.fixture
def settings(photo: Path, tiny_weights: Path) -> tileserver.Settings:
    return tileserver.Settings(source=str(photo), weights=tiny_weights, runtime="openvino")


def tile_path(app: object) -> str:
    """Address of a tile in the middle of the photograph."""
    service: tileserver.TileService = app.state.service  # type: ignore[attr-defined]
    place = mercantile.tile(*service.old.info.bounds_lonlat.centre, 18)
    return f"/tiles/{place.z}/{place.x}/{place.y}.png"


def test_an_app_serves_tiles_with_and_without_a_lifespan(settings: tileserver.Settings) -> None:
    app = tileserver.create_app(settings)
    path = tile_path(app)

    async def without_lifespan() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    bare = anyio.run(without_lifespan)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
        answer = client.get(path)
    assert answer.status_code == bare.status_code == 200
    assert answer.content == bare.content
    assert answer.headers["content-type"] == "image/png"
