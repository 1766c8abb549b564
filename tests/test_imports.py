"""tileserver -> sr_model <- training, and sr_model knows neither web nor rasters."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "sr_model": {"tileserver", "training", "fastapi", "starlette", "titiler", "rasterio", "rio_tiler"},
    "tileserver": {"training", "lightning", "skimage"},
    "training": {"tileserver", "fastapi", "titiler"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): imported(path) & FORBIDDEN[package] for path in files}
    assert not {path: names for path, names in wrong.items() if names}


def test_only_web_and_commands_know_http() -> None:
    web = {"fastapi", "starlette", "titiler", "uvicorn"}
    for path in sorted((ROOT / "tileserver").rglob("*.py")):
        if path.relative_to(ROOT / "tileserver").parts[0] not in ("web", "cli"):
            assert not imported(path) & web, path


@pytest.mark.parametrize("module", ["tileserver.cli.main", "training.cli.main"])
def test_commands_that_need_no_network_do_not_wait_for_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, cwd=ROOT).returncode == 0
