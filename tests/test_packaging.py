"""What people install: the wheel holds what it needs, and make repeats nothing and says what is wrong."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import httpx
import pytest
from base_install import base_requirements, required

ROOT = Path(__file__).parents[1]
PACKAGES = ("sr_model", "tileserver", "training")
BUNDLED_WEIGHTS_LIMIT_BYTES = 8_000_000
DEMO_LIMIT_BYTES = 3_000_000


def package_files() -> list[str]:
    """Return every file of the packages as the wheel should name it."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, because setuptools leaves its build folder beside what it builds."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    # The project's own setuptools (extra "dev") builds: no isolated environment, no network.
    command = [
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(target),
        str(source),
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("orthosharp-*.whl")
    return built


@pytest.fixture(scope="module")
def wheel_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_packages(wheel_names):
    assert [name for name in package_files() if name not in wheel_names] == []


def test_wheel_holds_the_page_the_weights_and_the_type_markers(wheel_names):
    assert "tileserver/viewer/index.html" in wheel_names
    assert any(name.startswith("sr_model/bundled/") and name.endswith(".safetensors") for name in wheel_names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= wheel_names


def test_the_demo_is_small_enough_for_a_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = [
            part.compress_size for part in archive.infolist() if part.filename.startswith("tileserver/demo/")
        ]
    assert len(sizes) == 3
    assert sum(sizes) < DEMO_LIMIT_BYTES


@pytest.mark.slow
def test_an_installed_wheel_serves_the_demo(wheel, tmp_path):
    """In an environment of its own, which has the dependencies but nothing of the repository."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    # A line of a .pth file adds the folder alone: editable installs in it are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    server = subprocess.Popen(
        [home / "bin/orthosharp", "serve", "--demo", "--port", "0"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
            line = server.stdout.readline()
            assert line, said
            said += line
        document = httpx.get(f"{found[0]}/restored/WebMercatorQuad/tilejson.json", timeout=60).json()
        assert document["attribution"]
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_wheel_holds_nothing_else(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_wheel_says_what_it_is(wheel, wheel_names):
    (metadata_name,) = (name for name in wheel_names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
    assert metadata["Name"] == "orthosharp"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == {"torch", "training", "ray", "telemetry", "dev"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


def test_installed_wheel_loads_its_weights_without_the_repository(wheel, tmp_path):
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    script = (
        "import sr_model, tileserver, pathlib\n"
        "path = sr_model.bundled_weights_path()\n"
        "assert sr_model.load_weights(path).digest\n"
        "print(path, pathlib.Path(tileserver.__file__), sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(site) for line in done.stdout.split())


def normalised(requirement):
    """Return the name in a requirement as package indexes compare them (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras):
    """Return the names of what pyproject.toml requires, and of what these extras do."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {normalised(line) for line in (*project["dependencies"], *optional)}


def optional(extra):
    """Return what an extra requires."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]


def third_party_imports(package):
    """Return the dotted name of everything that a package imports from others, inside functions too."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {*sys.stdlib_module_names, *PACKAGES}
    return {name for name in names if name.split(".")[0] not in ours}


@pytest.mark.parametrize(
    ("package", "extras"),
    # sr_model opens imported models with a library that those who use none do not need.
    [("sr_model", ("training",)), ("tileserver", ("telemetry", "ray")), ("training", ("training",))],
)
def test_every_import_is_a_declared_dependency(package, extras):
    providers, known = packages_distributions(), declared(*extras)
    imported = {name.split(".")[0] for name in third_party_imports(package)}
    assert imported
    undeclared = {
        name for name in imported if not {normalised(found) for found in providers.get(name, (name,))} & known
    }
    assert not undeclared


# Ray has no setting for the addresses that all of its processes listen on, and no short way to ask whether a cluster
# answers; tests/cluster holds what these do.
PRIVATE_OF_RAY = {
    "ray._private.grpc_utils.init_grpc_channel",
    "ray._private.ray_constants",
    "ray._private.services",
    "ray._private.worker",
    "ray.serve._private.replica",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_private_of_another_library_is_imported(package):
    names = third_party_imports(package) - PRIVATE_OF_RAY
    assert not {name for name in names if any(part.startswith("_") for part in name.split("."))}


def test_serving_requires_nothing_of_training():
    """Torch is gigabytes: make demo downloads less than 400 MB without it."""
    assert not {"torch", "torchvision", "lightning", "onnx", "onnxruntime", "spandrel"} & set(
        required(base_requirements())
    )
    assert {"torch", "torchvision"} <= declared("torch") & declared("training")
    assert any(line.startswith("orthosharp[training]") for line in optional("dev"))


def test_bundled_weights_are_small():
    for path in (ROOT / "sr_model" / "bundled").glob("*.safetensors"):
        assert path.stat().st_size < BUNDLED_WEIGHTS_LIMIT_BYTES


@pytest.mark.parametrize("name", ["orthosharp", "orthosharp-train"])
def test_script_can_be_called(name):
    (script,) = entry_points(group="console_scripts", name=name)
    assert callable(script.load())


def run_make(*arguments):
    """Run make as from a plain shell: without the flags that an outer make hands down."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_helps_by_default():
    assert run_make().stdout == run_make("help").stdout
    for target in ("demo", "setup", "test", "test-all", "lint", "clean"):
        assert f"make {target} " in run_make("help").stdout


def test_make_installs_again_only_if_pyproject_changed(tmp_path):
    changed_at = (ROOT / "pyproject.toml").stat().st_mtime
    stamps = [tmp_path / f".stamp-{name}" for name in ("venv", "demo", "dev")]
    for stamp in stamps:
        stamp.touch()
        os.utime(stamp, (changed_at + 10, changed_at + 10))
    assert run_make("--question", f"VENV={tmp_path}", "setup").returncode == 0
    assert "pip install" not in run_make("--dry-run", f"VENV={tmp_path}", "demo").stdout
    for stamp in stamps:
        os.utime(stamp, (changed_at - 10, changed_at - 10))
    assert run_make("--question", f"VENV={tmp_path}", "setup").returncode == 1
    assert "pip install" in run_make("--dry-run", f"VENV={tmp_path}", "demo").stdout


def test_make_takes_torch_from_the_index_that_was_named(tmp_path):
    plan = run_make(
        "--dry-run", f"VENV={tmp_path / 'venv'}", "TORCH_INDEX=https://wheels.invalid/cpu", "setup"
    ).stdout
    torch_first, rest = plan.split("--index-url https://wheels.invalid/cpu torch torchvision")
    assert "--editable '.[dev]'" not in torch_first
    assert "--editable '.[dev]'" in rest


def test_make_refuses_an_old_python_and_names_the_way_out(tmp_path):
    done = run_make(f"VENV={tmp_path / 'venv'}", "PYTHON=false", "setup")
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert "make PYTHON=python3.12 setup" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_make_repairs_a_package_whose_install_was_cut_off(tmp_path):
    info = tmp_path / "lib" / "python3.11" / "site-packages" / "half-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").touch()
    whole = info.with_name("whole-1.0.dist-info")
    whole.mkdir()
    (whole / "INSTALLER").write_text("pip\n")
    (tmp_path / ".stamp-venv").touch()
    done = run_make(f"VENV={tmp_path}", "demo")  # fails at the missing python, after the repair
    assert done.returncode != 0
    assert not info.exists()
    assert whole.exists()


def test_ci_runs_the_tests_and_the_linters():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert "make test" in lines
    assert "make lint" in lines


def test_the_oldest_versions_are_the_declared_floors():
    script = ROOT / ".ci" / "oldest_versions.py"
    command = [sys.executable, str(script), "--free", "torch,torchvision"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["training"], *extras["dev"]]
    declared.remove("orthosharp[training]")
    assert len(lines) == len(declared)
    assert {"torch>=2.5", "mypy>=1.11", "types-shapely"} <= set(lines)
    assert f"numpy=={next(name for name in declared if name.startswith('numpy'))[len('numpy>=') :]}" in lines
    assert 'uvloop==0.19; sys_platform != "win32"'.replace('"', "'") in lines
