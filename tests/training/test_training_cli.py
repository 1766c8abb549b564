import json

import pytest
from click.testing import CliRunner
from conftest import write_tiny_weights
from PIL import Image
from training_data import old_and_new, write_run, write_site, write_vgg

from sr_model import Restorer, load_weights
from training.cli.main import main


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
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
    sheet, scores, page = (tmp_path / name for name in ("sheet.png", "scores.json", "page.html"))
    shown = ["--sheet", sheet, "--html", page, "--rows", 1, "--credit", "nobody"]
    table = run("evaluate", fitted / "last.safetensors", pairs, "--json", scores, *shown)
    measured = json.loads(scores.read_text())
    rows = {row["method"]: row for row in measured["scores"] if row["truth"] == "new photo"}
    assert set(rows) == {"bicubic", "unsharp mask", "orthosharp", "new photo"}
    assert "| pairs | orthosharp |" in table
    assert rows["bicubic"]["rise"] == 1
    assert rows["bicubic"]["structure"] > 0.999
    assert rows["orthosharp"]["blotches"] > rows["bicubic"]["blotches"]
    with Image.open(sheet) as picture:
        assert picture.width > 1200
    assert "data:image/jpeg" in page.read_text()

    words = ["--name", "toy", "--provenance", "a test", "--credit", "nobody"]
    said = run("export", fitted, weights, "--scores", scores, "--onnx", *words)
    assert "halo" in said
    assert "beside it: out.onnx, out.md, out.stac.json" in said
    spec = load_weights(weights).spec
    assert (spec.name, spec.provenance, spec.credit) == ("toy", "a test", "nobody")
    assert spec.metrics["scores"] == measured["scores"]
    assert spec.halo_px % spec.stride == 0
    assert Restorer.open(weights).spec.gsd_m == spec.gsd_m


@pytest.mark.parametrize(
    ("sizes", "why"), [("128,large", "not a list"), ("2000", "64 to 1024"), ("256,128", "do not grow")]
)
def test_sizes_that_are_none_are_refused(tmp_path, sizes, why):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "x"), "--sizes", sizes])
    assert result.exit_code == 2
    assert why in result.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--gsd", "0.3"], "leave it out, or choose --colours network"),
        (["--architecture", "compact"], "leave out --architecture, or --colours photo"),
    ],
)
def test_options_that_relative_weights_cannot_have_are_refused(tmp_path, words, why):
    arguments = ["fit", "--out", str(tmp_path / "x"), "--colours", "photo", *words]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert why in " ".join(result.output.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "architecture", "grid"),
    [
        ([], "compact", 6.0),
        (["--colours", "photo"], "half_scale", 0.3),
        (["--architecture", "half_scale", "--weight", "grid=2"], "half_scale", 2.0),
    ],
)
def test_the_architecture_follows_the_kind_and_the_pattern_term_the_architecture(
    tmp_path, words, architecture, grid
):
    site, out = write_site(tmp_path / "town", ("train", "validation"), size=128), tmp_path / "run"
    few = ["--steps", 1, "--batch", 1, "--sizes", 64, "--pixels-only", "--validate-every", 0, "--workers", 1]
    run("fit", site, "--out", out, *few, *words)
    config = json.loads((out / "config.json").read_text())
    assert (config["architecture"], config["loss"]["grid"]) == (architecture, grid)


def test_unknown_loss_terms_and_missing_runs_are_refused(tmp_path):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "x"), "--weight", "beauty=1"])
    assert result.exit_code == 2
    assert "known: " in result.output
    (tmp_path / "run").mkdir()
    arguments = [
        "export",
        str(tmp_path / "run"),
        str(tmp_path / "o.safetensors"),
        "--provenance",
        "a",
        "--credit",
        "b",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "no weights yet" in result.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["evaluate", "weights", ".", "--json", "missing/a.json"], "make its folder"),
        (["evaluate", "weights", ".", "--html", "missing/a.html"], "make its folder"),
        (["evaluate", "weights", ".", "--sheet", "sheet"], "end it in .jpg"),
        (["export", ".", "missing/a.safetensors", "--provenance", "a", "--credit", "b"], "make its folder"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_text("")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2, result.output
    assert why in result.output


def test_pairs_of_other_pixels_than_the_network_s_are_refused(tmp_path):
    """A city's new photo has 0.1 m, and `pairs` keeps that unless it is told otherwise."""
    weights = write_tiny_weights(tmp_path / "tiny.safetensors")
    run = write_run(tmp_path / "run", "pairs", write_tiny_weights)
    fine, coarse = (
        write_site(tmp_path / name, ("train", "validation"), size=400) for name in ("fine", "coarse")
    )
    site = json.loads((fine / "site.json").read_text())
    (fine / "site.json").write_text(json.dumps(site | {"gsd_m": 0.1, "old_gsd_m": 0.25}))
    out = ("--out", tmp_path / "out")
    for words in (
        ("evaluate", weights, coarse, fine),
        ("refine", run, coarse, fine, *out),
        ("fit", coarse, fine, *out),
        ("fit", fine, "--gsd", 0.3, *out),
    ):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 2, result.output
        assert "fine has 0.1 m per pixel" in result.output
    assert not (tmp_path / "out").exists()


def test_the_old_name_of_baseline_still_works_and_says_what_it_is_called_now(tmp_path):
    weights = write_tiny_weights(tmp_path / "tiny.safetensors")
    site = write_site(tmp_path / "town", ("train", "validation"), size=400)
    (tmp_path / "bicubic.tif").write_text("")
    for option, warns in (("--baseline", False), ("--rival", True)):
        words = ["evaluate", weights, site, option, tmp_path / "bicubic.tif"]
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 2, result.output
        assert "another row is called 'bicubic' too" in result.output
        assert ("--rival is called --baseline now" in result.output) == warns
    assert "--rival" not in CliRunner().invoke(main, ["evaluate", "--help"]).output


def test_credits_are_one_per_site(tmp_path):
    for name in ("weights", "a/x", "b/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    arguments = [str(tmp_path / name) for name in ("weights", "a", "b")]
    result = CliRunner().invoke(main, ["evaluate", *arguments, "--credit", "one"])
    assert result.exit_code == 2
    assert "1 for 2 sites" in result.output


def test_errors_of_the_system_are_one_line(tmp_path):
    out = tmp_path / "file" / "run"
    out.parent.write_bytes(b"")
    site = write_site(tmp_path / "site", ("train", "validation"))
    result = CliRunner().invoke(main, ["fit", str(site), "--out", str(out), "--pixels-only", "--steps", "1"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert "Not a directory" in line


def test_the_current_folder_has_a_name_in_messages(tmp_path, monkeypatch):
    folder = tmp_path / "not-a-run"
    folder.mkdir()
    monkeypatch.chdir(folder)
    words = ["--provenance", "a test", "--credit", "a test"]
    result = CliRunner().invoke(main, ["export", ".", "out.safetensors", *words])
    assert result.exit_code == 2
    assert "not-a-run has no weights yet" in result.output
