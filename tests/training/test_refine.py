"""What a network is taught by a rule: no lines of the old photo's pixels, its shapes, as much detail as is asked."""

import json
from dataclasses import replace

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
from training.cli.main import main
from training.data.dataset import load_pairs
from training.export.lineage import lineage
from training.export.model_card import model_card
from training.measure.metrics import band_energy, structure_kept
from training.refine.lines import without_lines
from training.refine.rules import back_project, with_detail

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


def tensor(rgb):
    return torch.from_numpy(np.asarray(rgb, np.float32) / 255).permute(2, 0, 1)[None]


def test_shapes_come_back_from_the_old_photo_and_its_haze_does_not():
    ground = make_ground(3, 256)
    hazy, wrong = ground * 0.5 + 90, ground.copy()
    wrong[100:130, 100:130] = 200 - wrong[100:130, 100:130]  # a roof that was never there
    before = np.abs(wrong - ground)[104:126, 104:126].mean()
    half, whole = (back_project(tensor(wrong), tensor(hazy), fidelity)[0] for fidelity in (0.5, 1.0))
    for restored, left in ((half, 0.5), (whole, 0.0)):
        picture = 255 * restored.permute(1, 2, 0).numpy()
        assert np.abs(picture - ground)[104:126, 104:126].mean() == pytest.approx(
            left * before, abs=0.1 * before
        )
        # Elsewhere nothing moves but by the little that the roof bends the line of all brightnesses.
        assert np.abs(picture - ground)[150:, 150:].mean() < 3
    assert back_project(tensor(wrong), tensor(hazy), 0.0).equal(tensor(wrong))


def test_still_water_is_not_changed():
    water = tensor(np.full((64, 64, 3), 40.0))
    assert torch.allclose(back_project(water, water * 2, 1.0), water, atol=1e-4)


def test_detail_is_amplified_and_coarser_structure_stays():
    noise, wave = np.random.default_rng(0).normal(0, 10, (128, 128)), np.arange(128) / 32
    fine, coarse = noise + 128, np.tile(128 + 40 * np.sin(2 * np.pi * wave), (128, 1))
    for grey, factor in ((fine, 1.2), (coarse, 1.0)):
        picture = tensor(np.repeat(grey[..., None], 3, 2))
        ratio = float(with_detail(picture, 0.2).std() / picture.std())
        assert ratio == pytest.approx(factor, abs=0.04)


def restored(folder, old):
    return Restorer.open(folder / "last.safetensors").restore(old[None, :256, :256])[0][32:-32, 32:-32]


@pytest.mark.slow
def test_a_network_learns_to_leave_lines_out(run, pairs, tmp_path):
    out = tmp_path / "unlined"
    words = ("--lines", "rows", "--fidelity", 0, "--detail", 0, "--steps", 120, "--lr", 2e-3)
    result = call("refine", run, pairs, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert "lines' power" in result.output
    unseen = with_lines(make_ground(9, 256), 3)
    pictures = [Restorer.open(folder / "last.safetensors").restore(unseen[None])[0] for folder in (run, out)]
    before, after = (line_power(picture[64:-64, 64:-64]) for picture in pictures)
    assert after < before / 2
    assert np.abs(pictures[1][64:-64, 64:-64].astype(float) - make_ground(9, 256)[64:-64, 64:-64]).mean() < 4


@pytest.mark.slow
def test_a_network_that_paints_too_much_learns_to_keep_to_the_old_photo_and_to_draw_less(tmp_path):
    pairs = write_site(tmp_path / "fine", ["train"] * 3, size=256)
    torch.manual_seed(1)
    spec = ModelSpec.compact(width=16, blocks=1)
    state = build(spec).state_dict()
    # A network that paints where nothing is.
    state["head.expand.weight"] = state["head.expand.weight"] * 8
    run = write_run(
        tmp_path / "run", pairs, lambda path: save_weights(path, spec, state, dtype=torch.float32)
    )
    out = tmp_path / "refined"
    result = call("refine", run, pairs, "--out", out, "--steps", 150, "--lr", 2e-3, "--detail", 4)
    assert result.exit_code == 2  # more than all the energy there is
    result = call("refine", run, pairs, "--out", out, "--steps", 150, "--lr", 2e-3, "--detail", 1)
    assert result.exit_code == 0, result.output
    assert "fine detail is to be 0.80 times as strong" in result.output
    (pair, *_) = load_pairs([pairs], "train")
    before, after = restored(run, pair.old), restored(out, pair.old)
    old, new = pair.old[32:224, 32:224], pair.new[32:224, 32:224]
    assert 1 - structure_kept(after, old, 2.0) < 0.6 * (1 - structure_kept(before, old, 2.0))
    assert band_energy(after, new)[0] < band_energy(before, new)[0]


def test_what_was_taught_and_on_which_photographs_is_declared(run, pairs, tmp_path):
    """Once more on other pairs than those of the run."""
    other = write_site(tmp_path / "other", ["train"], size=256)
    few = ("--steps", 1, "--detail", 0)
    for start, ground, out in (
        (run, pairs, tmp_path / "once"),
        (tmp_path / "once", other, tmp_path / "twice"),
    ):
        result = call("refine", start, ground, "--out", out, *few)
        assert result.exit_code == 0, result.output
    told = lineage(json.loads((tmp_path / "twice" / "config.json").read_text()))
    assert [(lesson["pairs"], lesson["steps"], lesson["lines"]) for lesson in told["refined"]] == [
        (["pairs"], 1, None),
        (["other"], 1, None),
    ]
    assert [site["chips"] for site in told["photographs"]] == [3, 1]
    assert told["choices"] == lineage(json.loads((run / "config.json").read_text()))["choices"]
    weights = load_weights(tmp_path / "twice" / "last.safetensors")
    declared = replace(weights, spec=replace(weights.spec, training=told))
    assert "| refined.2.fidelity | 0.5 |" in model_card(declared, [])


@pytest.mark.slow
def test_a_network_of_another_stride_is_taught_too(pairs, tmp_path):
    spec = ModelSpec.resnet34()
    state = build(spec).state_dict()
    run = write_run(
        tmp_path / "run", pairs, lambda path: save_weights(path, spec, state, dtype=torch.float32)
    )
    result = call("refine", run, pairs, "--out", tmp_path / "out", "--steps", 1)
    assert result.exit_code == 0, result.output
    assert load_weights(tmp_path / "out" / "last.safetensors").spec == spec


def test_of_many_chips_some_are_looked_at(pairs):
    names = [pair.name for pair in load_pairs([pairs], "train")]
    assert [pair.name for pair in load_pairs([pairs], "train", 2)] == [names[0], names[-1]]
    assert [pair.name for pair in load_pairs([pairs], "train", 9)] == names


def test_what_cannot_be_taught_is_refused_and_nothing_is_written(run, pairs, tmp_path):
    fine = write_site(tmp_path / "fine", ["train"], size=256)
    site = fine / "site.json"
    site.write_text(site.read_text().replace("0.6096012", "0.3048006"))
    (tmp_path / "taken").mkdir()
    for words, why in (
        ((run, fine, "--lines", "rows", "--out", tmp_path / "out"), "no old photo is coarser"),
        ((run, pairs, "--out", tmp_path / "taken"), "exists"),
        ((run, pairs, "--out", run / "config.json" / "out"), "cannot be made"),
        ((fine, pairs, "--out", tmp_path / "out"), "last.safetensors"),
        ((run, pairs, "--lr", -1, "--out", tmp_path / "out"), "not in the range"),
    ):
        result = call("refine", *words)
        assert result.exit_code == 2, result.output
        assert why in result.output
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "taken").iterdir())
    assert load_weights(run / "last.safetensors")
