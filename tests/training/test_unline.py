"""The old photo's own lines: taken out of pictures, and left out by a network that was taught to."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from training_data import make_ground, write_run, write_site

from sr_model.network import build
from sr_model.restorer import Restorer
from sr_model.spec import ModelSpec
from sr_model.weights import load_weights, save_weights
from training.cli import main
from training.unline import without_lines

PERIOD_PX = 4


def line_power(rgb: np.ndarray, lines: str = "rows") -> float:
    """Of the frequency of the lines, over what lies beside it."""
    grey = rgb.astype(float).mean(-1)
    means = grey.mean(1 if lines == "rows" else 0)
    power = np.abs(np.fft.rfft((means - means.mean()) * np.hanning(len(means)))) ** 2
    at = round(len(means) / PERIOD_PX)
    return float(power[at] / power[[at - 5, at - 4, at - 3, at + 3, at + 4, at + 5]].mean())


def with_lines(rgb: np.ndarray, strength: float, lines: str = "rows") -> np.ndarray:
    places = np.arange(len(rgb))
    wave = strength * np.cos(2 * np.pi * places / PERIOD_PX)
    wave = wave[:, None, None] if lines == "rows" else wave[None, :, None]
    return np.clip(np.round(rgb + wave), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("lines", ["rows", "columns"])
def test_lines_are_taken_out_and_the_rest_stays(lines):
    ground = make_ground(5, 256)
    lined = with_lines(ground, 4, lines)
    clean = without_lines(lined, PERIOD_PX, lines)
    assert line_power(lined, lines) > 20
    assert line_power(clean, lines) < 1.5
    assert np.abs(clean - ground).mean() < 1  # the lines are 2.5


@pytest.fixture
def pairs(tmp_path):
    folder = write_site(tmp_path / "pairs", ["train"] * 3, size=256)
    for path in (folder / "old").glob("*.png"):
        Image.fromarray(with_lines(np.asarray(Image.open(path)), 3)).save(path)
    return folder


@pytest.fixture
def run(tmp_path, pairs):
    torch.manual_seed(1)
    spec = ModelSpec.compact(width=16, blocks=1)
    state = build(spec).state_dict()
    return write_run(
        tmp_path / "run", pairs, lambda path: save_weights(path, spec, state, dtype=torch.float32)
    )


def call(*words):
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.mark.slow
def test_a_network_learns_to_leave_them_out(run, pairs, tmp_path):
    out = tmp_path / "unlined"
    result = call("unline", run, pairs, "--out", out, "--steps", 120, "--lr", 2e-3)
    assert result.exit_code == 0, result.output
    assert "of the lines' power left" in result.output
    assert (out / "config.json").read_bytes() == (run / "config.json").read_bytes()
    unseen = with_lines(make_ground(9, 256), 3)
    pictures = [Restorer.open(folder / "last.safetensors").restore(unseen[None])[0] for folder in (run, out)]
    before, after = (line_power(picture[64:-64, 64:-64]) for picture in pictures)
    assert after < before / 2
    assert np.abs(pictures[1][64:-64, 64:-64].astype(float) - make_ground(9, 256)[64:-64, 64:-64]).mean() < 4


def test_what_cannot_be_taught_is_refused_and_nothing_is_written(run, pairs, tmp_path):
    fine = write_site(tmp_path / "fine", ["train"], size=256)
    site = fine / "site.json"
    site.write_text(site.read_text().replace("0.6096012", "0.3048006"))
    (tmp_path / "taken").mkdir()
    for words, why in (
        ((run, fine, "--out", tmp_path / "out"), "no old photo is coarser"),
        ((run, pairs, "--out", tmp_path / "taken"), "exists"),
        ((fine, pairs, "--out", tmp_path / "out"), "last.safetensors"),
    ):
        result = call("unline", *words)
        assert result.exit_code == 2, result.output
        assert why in result.output
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "taken").iterdir())
    assert load_weights(run / "last.safetensors")
