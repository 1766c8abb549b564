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


@pytest.mark.parametrize("module", ["tileserver.cli.main", "training.cli.main", "training.pairs.make"])
def test_commands_that_need_no_network_do_not_wait_for_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, cwd=ROOT).returncode == 0


def imports_of(package: str) -> dict[str, set[str]]:
    """Every module of a package, and the modules of the package that it imports, inside functions too."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in rooms_files(package)}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        found[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            # `from a.b import c` names the module a.b.c, or something inside of a.b.
            for name in names:
                target = name if name in modules else name.rpartition(".")[0]
                if target in modules and target != module:
                    found[module].add(target)
    return found


def rooms_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def room(module: str) -> str:
    """First part of a module's name below its package: a folder, or a module that stands alone."""
    return module.split(".")[1] if "." in module else ""


# From the ground floor up; each room imports only from rooms below its own floor.
TILESERVER = (
    {"errors"},
    {"tiling"},
    {"settings", "stages"},
    {"metrics"},
    {"photo"},
    {"archives"},
    {"render"},
    {"cache"},
    {"shared"},
    {"service"},
    {"attribution"},
    {"jobs", "cluster"},
    {"web"},
    {"cli"},
)

TRAINING = (
    {"errors"},
    {"locks", "pages", "processors", "progress"},
    {"measure"},
    {"data"},
    {"pairs"},
    {"fit"},
    {"refine", "evaluate", "compare"},
    {"export"},
    {"cli"},
)


def test_imports_inside_functions_count() -> None:
    assert "training.export.export" in imports_of("training")["training.cli.evaluate"]


@pytest.mark.parametrize(("package", "floors"), [("tileserver", TILESERVER), ("training", TRAINING)])
def test_rooms_are_one_staircase(package: str, floors: tuple[set[str], ...]) -> None:
    floor_of = {name: level for level, names in enumerate(floors) for name in names}
    imports = imports_of(package)
    unknown = {room(module) for module in imports} - floor_of.keys() - {""}
    assert not unknown, f"give them a floor: {unknown}"
    upwards = [
        (module, target)
        for module, targets in imports.items()
        for target in targets
        if room(module) and room(target) != room(module) and floor_of[room(target)] >= floor_of[room(module)]
    ]
    assert not upwards


@pytest.mark.parametrize("package", ["tileserver", "training"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    left = imports_of(package)
    # Take away modules that import nothing that is left; a circle cannot be taken away.
    while free := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in free}
    assert not left
