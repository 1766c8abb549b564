"""tileserver -> sr_model <- training, and sr_model knows neither web nor rasters."""

from __future__ import annotations

import ast
import graphlib
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


# Each package's rooms, from the bottom up: a folder or a file of the package, which imports only from those before it.
ROOMS = {
    "training": ["errors", "pages", "measure", "data", "pairs", "fit", "refine", "evaluate", "export", "cli"],
}


def module_name(path: Path) -> str:
    """`training.fit.run` for training/fit/run.py, `training.fit` for training/fit/__init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of_modules(package: str) -> dict[str, set[str]]:
    """Every module of a package, and which others of it each imports anywhere, for type checking too."""
    files = {module_name(path): path for path in sorted((ROOT / package).rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} has a relative import, which this test does not follow"
                # `from package import module` imports the module, `from module import name` the module it is from.
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= (inner & files.keys()) or {str(node.module)}
        found[name] = (named & files.keys()) - {name}
    return found


def room_of(module: str) -> str:
    """The folder or file right below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def misplaced_imports(package: str, rooms: list[str]) -> list[str]:
    """Imports of a room that is not below; empty where the package is one staircase."""
    step = {room: number for number, room in enumerate(["", *rooms])}  # the package itself lies under all
    return [
        f"{module} imports {other}"
        for module, others in imports_of_modules(package).items()
        for other in sorted(others)
        if room_of(other) != room_of(module) and step[room_of(other)] > step[room_of(module)]
    ]


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_imports_only_from_rooms_below(package: str) -> None:
    assert {room_of(module) for module in imports_of_modules(package)} - {""} == set(ROOMS[package])
    assert misplaced_imports(package, ROOMS[package]) == []


def test_the_staircase_sees_imports_inside_functions_and_those_that_point_upwards() -> None:
    assert "training.export.export" in imports_of_modules("training")["training.cli.evaluate"]
    upside_down = list(reversed(ROOMS["training"]))
    assert "training.cli.evaluate imports training.export.export" in misplaced_imports(
        "training", upside_down
    )


@pytest.mark.parametrize("package", ROOMS)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    graphlib.TopologicalSorter(
        imports_of_modules(package)
    ).prepare()  # raises CycleError, which names the circle


def test_domain_code_knows_no_http() -> None:
    web = {"fastapi", "starlette", "titiler", "uvicorn"}
    at_the_edge = {"app.py", "cli.py", "routes.py", "site.py", "tiles.py", "middleware.py", "warm.py"}
    for path in sorted((ROOT / "tileserver").rglob("*.py")):
        if path.name not in at_the_edge:
            assert not imported(path) & web, path.name


@pytest.mark.parametrize("module", ["tileserver.cli", "training.cli.main", "training.pairs.make"])
def test_commands_that_need_no_network_do_not_wait_for_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, cwd=ROOT).returncode == 0
