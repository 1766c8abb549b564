import pytest
from click.testing import CliRunner

from training.cli import main


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


def test_credits_are_one_per_site(tmp_path):
    for name in ("weights", "a/x", "b/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    arguments = [str(tmp_path / name) for name in ("weights", "a", "b")]
    result = CliRunner().invoke(main, ["evaluate", *arguments, "--credit", "one"])
    assert result.exit_code == 2
    assert "1 for 2 sites" in result.output
