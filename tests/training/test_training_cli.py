import json

import pytest
from click.testing import CliRunner
from PIL import Image
from training_data import old_and_new, write_vgg

from sr_model import Restorer, load_weights
from training.cli import main


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_from_two_photographs_to_weights_that_the_server_takes(tmp_path):
    pairs, fitted, weights = tmp_path / "pairs", tmp_path / "run", tmp_path / "out.safetensors"
    run("pairs", *old_and_new(tmp_path, 1240), pairs, "--size", 400, "--max-shift", 4, "--min-confidence", 0)
    run(
        "fit",
        pairs,
        "--out",
        fitted,
        "--perceptual",
        write_vgg(tmp_path / "vgg.safetensors"),
        "--pixels-only",
        "--steps",
        2,
        "--batch",
        2,
    )
    said = run("export", fitted, weights, "--name", "toy", "--provenance", "a test", "--credit", "nobody")
    assert "halo" in said
    spec = load_weights(weights).spec
    assert (spec.name, spec.provenance, spec.credit) == ("toy", "a test", "nobody")
    assert spec.halo_px % spec.stride == 0
    assert Restorer.open(weights).spec.gsd_m == spec.gsd_m

    sheet, scores = tmp_path / "sheet.png", tmp_path / "scores.json"
    table = run(
        "evaluate", weights, pairs, "--json", scores, "--sheet", sheet, "--rows", 1, "--credit", "nobody"
    )
    rows = {row["method"]: row for row in json.loads(scores.read_text())}
    assert set(rows) == {"bicubic", "unsharp mask", "orthosharp", "new photo"}
    assert "| pairs | orthosharp |" in table
    assert rows["new photo"]["high_frequency"] == 1
    assert rows["bicubic"]["structure"] > 0.999
    assert rows["bicubic"]["texture_distance"] > rows["new photo"]["texture_distance"]
    with Image.open(sheet) as picture:
        assert picture.width > 1200


@pytest.mark.parametrize(
    ("sizes", "why"), [("128,large", "no list"), ("2000", "64 to 1024"), ("256,128", "do not grow")]
)
def test_sizes_that_are_none_are_refused(tmp_path, sizes, why):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "x"), "--sizes", sizes])
    assert result.exit_code == 2
    assert why in result.output


def test_unknown_loss_terms_and_missing_runs_are_refused(tmp_path):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "x"), "--weight", "beauty=1"])
    assert result.exit_code == 2
    assert "known: " in result.output
    (tmp_path / "run").mkdir()
    arguments = ["export", str(tmp_path / "run"), str(tmp_path / "o"), "--provenance", "a", "--credit", "b"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "no weights yet" in result.output
