"""What `import sr_model` gives, and what it does not wait for."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sr_model

PACKAGE = Path(sr_model.__file__)
HEAVY = "torch", "openvino", "onnx", "torchvision"


def loaded_by(statement: str) -> set[str]:
    """Heavy libraries that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*({set(HEAVY)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import sr_model; sr_model.__version__; dir(sr_model)",
        "from sr_model import ModelSpec, PixelWindow, SrModelError, fill_nodata, load_weights, aligned_window",
        "from sr_model import Restorer, PhotoContext, ToneMap, dehalo",
        "import sr_model.binding, sr_model.boxes, sr_model.errors, sr_model.windows, sr_model.spec, sr_model.weights",
    ],
)
def test_torch_and_openvino_are_not_waited_for(statement):
    assert not loaded_by(statement)


def test_the_check_for_heavy_libraries_finds_them():
    assert "torch" in loaded_by("from sr_model import multiplications_per_px")


def test_every_public_name_is_there_and_is_where_type_checkers_look():
    assert all(getattr(sr_model, name) is not None for name in sr_model.__all__)
    assert set(sr_model.__all__) <= set(dir(sr_model))
    tree = ast.parse(PACKAGE.read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {
        name: sr_model._MODULES.get(name, "errors") for name in sr_model.__all__ if name != "__version__"
    }
    assert {name: f"sr_model.{home}" for name, home in homes.items()} == imported


def test_the_version_is_that_of_the_installed_package():
    assert sr_model.__version__ == version("orthosharp")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Restorator'"):
        _ = sr_model.Restorator
