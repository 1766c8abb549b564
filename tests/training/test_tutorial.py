"""The tutorial of docs/training.md, its very commands, for two steps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sr_model import Restorer
from tileserver.cli.main import main as orthosharp
from training.cli.main import main as orthosharp_train

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tileserver" / "demo"


def commands():
    """The commands of the tutorial, without the path of the program and joined where they are broken."""
    text = (ROOT / "docs" / "training.md").read_text()
    tutorial = text[text.index("## Ten minutes on the demo data") :]
    tutorial = tutorial[: tutorial.index("\n## ", 3)]
    blocks = "".join(re.findall(r"```sh\n(.*?)```", tutorial, re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in blocks.splitlines() if "orthosharp" in line]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the demo, after every command but the last, which serves."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(DEMO, folder / "tileserver" / "demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for program, *arguments in commands():
            if Path(program).name == "orthosharp-train":
                small = [
                    SMALLER.get(before, word)
                    for before, word in zip(["", *arguments], arguments, strict=False)
                ]
                result = CliRunner().invoke(orthosharp_train, small)
                assert result.exit_code == 0, f"{arguments[0]}: {result.output}"
    return folder


# What follows these options in the test.
SMALLER = {"--steps": "2", "--batch": "2", "--draws": "100", "--rows": "1"}


def test_the_tutorial_has_the_four_commands_and_serves():
    named = [(Path(program).name, arguments[0]) for program, *arguments in commands()]
    assert named[-1] == ("orthosharp", "serve")
    trained = [name for program, name in named if program == "orthosharp-train"]
    assert list(dict.fromkeys(trained)) == ["pairs", "fit", "evaluate", "export"]


def test_the_scores_are_written_and_stand_in_the_weights(folder):
    document = json.loads((folder / "tutorial" / "scores.json").read_text())
    rows = {(row["truth"], row["method"]): row for row in document["scores"]}
    assert set(rows) == {
        (truth, method)
        for truth in ("new photo",)
        for method in ("bicubic", "unsharp mask", "orthosharp", "new photo")
    }
    bicubic, new = rows["new photo", "bicubic"], rows["new photo", "new photo"]
    assert bicubic["rise"] == 1
    assert new["overshoot"] < 1
    assert bicubic["structure"] > 0.999
    restorer = Restorer.open(folder / "tutorial" / "village.safetensors")
    assert restorer.spec.metrics["scores"] == document["scores"]
    assert restorer.spec.halo_px % restorer.spec.stride == 0


def test_the_files_that_the_tutorial_names_are_there(folder):
    made = {path.name for path in (folder / "tutorial").iterdir()}
    endings = (".safetensors", ".onnx", ".md", ".stac.json")
    assert {"evaluation.html", *(f"village{ending}" for ending in endings)} <= made
    assert "data:image/jpeg" in (folder / "tutorial" / "evaluation.html").read_text()


def test_the_server_takes_the_weights(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (_, *arguments) = commands()[-1]
    source = arguments[1]
    weights = arguments[arguments.index("--weights") + 1]
    result = CliRunner().invoke(orthosharp, ["info", source, "--weights", weights])
    assert result.exit_code == 0, result.output
    assert "restored at" in result.output


def test_a_sheet_has_a_row_of_four_pictures(folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = ["tutorial/village.safetensors", "tutorial/pairs", "--no-aged", "--draws", "100"]
    sheet = ["--sheet", "sheet.png", "--rows", "1", "--credit", "nobody"]
    result = CliRunner().invoke(orthosharp_train, ["evaluate", *arguments, *sheet])
    assert result.exit_code == 0, result.output
    assert "| pairs | orthosharp |" in result.output
    with Image.open("sheet.png") as picture:
        assert picture.width > 1200
