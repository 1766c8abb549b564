"""Faults planted in a baseline show in the column of their judge, and in no other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_tiny_weights
from made_roofs import photographed, roofs
from PIL import Image
from scipy.ndimage import gaussian_filter
from training_data import strip, write_photo, write_run, write_site, write_vgg

from sr_model import Restorer, bundled_weights_path, load_weights
from sr_model.shipped import BUNDLED
from training.cli.fit_defaults import choose_start_networks
from training.cli.main import main
from training.errors import TrainingError
from training.evaluate.judge import choose_judge, loss_networks_of
from training.evaluate.options import EvaluateOptions
from training.evaluate.score import evaluate_site
from training.evaluate.tables import METRICS
from training.measure.bootstrap import Bootstrap, PooledValues

SPLITS = ("train", "validation", "validation", "validation")
ORIGIN = (753_000.0, 1_300_000.0)
JUDGED = ("rise", "overshoot", "rims", "blotches", "cast", "weave")


def picture(seed, side, blur, amount, grain):
    """Roofs, white ones among them, reddish where they are dark."""
    grey = photographed(roofs(seed, blur, size=side, whites=True), amount=amount, radius_px=1.5, grain=grain)
    red = np.clip((150 - grey) / 100, 0, 1)[..., None] * (20.0, 0.0, -10.0)
    return np.clip(grey[..., None] * 0.9 + red + 5, 0, 255).astype(np.uint8)


def write_town(folder, splits, side):
    """A site whose old chips have a mild halo, and sharper new ones."""
    write_site(folder, splits, size=side)
    for seed in range(len(splits)):
        old, new = picture(seed, side, 1.6, 1.5, 1.0), picture(seed, side, 0.8, 0.0, 1.5)
        for name, chip in (("old", old), ("new", new)):
            Image.fromarray(chip).save(folder / name / f"{seed:04d}_0000.png")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_town(tmp_path_factory.mktemp("judges") / "town", SPLITS, 240)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_town(tmp_path_factory.mktemp("small") / "town", ("validation",) * 2, 160)


def with_halo(old):
    """Rings of luminance beside the edges."""
    grey = old.mean(2)
    return old + 0.25 * (grey - gaussian_filter(grey, 2.5))[..., None]


def with_cast(old):
    return old + np.array((9.0, 0.0, -9.0))


def with_blotches(old):
    """Stains of colour on what is neither bright nor neutral."""
    noise = gaussian_filter(np.random.default_rng(2).normal(size=old.shape[:2]), 12)
    stain = (6 / noise.std()) * noise * (old.mean(2) < 150)
    return old + stain[..., None] * (1.0, -0.5, 0.5)


def with_weave(old):
    return old + 6.0 * (np.indices(old.shape[:2]).sum(0) % 2)[..., None]


PLANTED = {"overshoot": with_halo, "cast": with_cast, "blotches": with_blotches, "weave": with_weave}


@pytest.fixture(scope="module")
def scores(tmp_path_factory, site):
    folder = tmp_path_factory.mktemp("planted")
    old = strip(site, "old", SPLITS)
    files = []
    for name, plant in PLANTED.items():
        planted = np.clip(np.rint(plant(old.astype(float))), 0, 255).astype(np.uint8)
        files.append(write_photo(folder / f"{name}.tif", planted, 1.0, ORIGIN))
    restorer = Restorer.open(write_tiny_weights(folder / "tiny.safetensors"))
    return {
        score.method: score
        for score in evaluate_site(restorer, site, EvaluateOptions(tuple(files), aged=False, draws=200))
    }


# How far a column may move from bicubic's by something else, and how far the planted fault moves it at least.
MOVES = {
    "rise": (0.2, None),
    "overshoot": (0.2, 0.5),
    "rims": (1.0, None),
    "blotches": (1.2, 2.0),
    "cast": (1.5, 6.0),
    "weave": (0.5, 0.8),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_shows_in_its_column_and_in_no_other(scores, planted):
    mine, bicubic = scores[planted].estimates, scores["bicubic"].estimates
    moved = {name: mine[name].value - bicubic[name].value for name in JUDGED}
    for name, (most, least) in MOVES.items():
        if name == planted:
            assert moved[name] > least, moved
        else:
            assert abs(moved[name]) < most, (name, moved)


def test_the_new_photo_is_crisper_and_natural(scores):
    new = scores["new photo"].estimates
    assert new["rise"].value < 0.85
    assert new["weave"].value == pytest.approx(1, abs=1e-3)
    assert new["rise"].low < new["rise"].value < new["rise"].high
    assert "features" not in new


def test_a_median_is_numpys_and_its_interval_knows_the_blocks():
    random = np.random.default_rng(2)
    chips = [random.normal(5, 1, size) for size in (3, 0, 8, 5, 6)]
    bootstrap = Bootstrap(np.array([0, 0, 1, 2, 3]), draws=300)
    estimate = bootstrap.median(chips)
    assert estimate.value == pytest.approx(np.median(np.concatenate(chips)))
    assert estimate.low < estimate.value < estimate.high
    ratio = bootstrap.median([2 * chip for chip in chips], chips)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    # Chips of one block that alone has values: every draw without it tells nothing.
    lonely = Bootstrap(np.arange(3), draws=100).median([np.array([1.0, 2.0]), np.empty(0), np.empty(0)])
    assert (lonely.value, lonely.low, lonely.high) == (1.5, 1.5, 1.5)


def test_a_drawn_block_counts_as_often_as_it_was_drawn():
    chips = [np.array([1.0, 4.0]), np.array([2.0, 9.0, 3.0])]
    pooled = PooledValues.of(chips, np.arange(2))
    counts = np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 3.0], [0.0, 2.0]])
    wanted = [
        np.median(np.concatenate([np.repeat(c, int(n)) for c, n in zip(chips, row, strict=True)]))
        for row in counts
    ]
    assert pooled.medians(counts).tolist() == wanted


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_output_says_which_network_judged(tmp_path, small):
    """A loss of pixels alone used no network; the run's own configuration says so."""
    fitted = write_run(tmp_path / "run", small, write_tiny_weights)
    config = json.loads((fitted / "config.json").read_text())
    pixels = {"perceptual": 0.0, "style": 0.0, "spectrum": 0.0, "adversarial": [0.0]}
    (fitted / "config.json").write_text(json.dumps(config | {"loss": config["loss"] | pixels}))
    scores, page = tmp_path / "scores.json", tmp_path / "page.html"
    weights, vgg = fitted / "last.safetensors", write_vgg(tmp_path / "vgg.safetensors")
    told = run("evaluate", weights, small, "--judge", vgg, "--json", scores, "--html", page, "--draws", 100)
    assert told.exit_code == 0, told.output
    assert "Feature distance judged by vgg16; the loss used none." in told.output
    assert "judged by vgg16" in page.read_text()
    document = json.loads(scores.read_text())
    assert document["judge"] == {"features": "vgg16", "loss": []}
    rows = {(row["truth"], row["method"]): row for row in document["scores"]}
    assert {name for row in rows.values() for name in row if name not in METRICS} == {
        *("site", "truth", "method", "chips", "blocks", "worst_chip", "intervals")
    }
    assert rows["aged", "bicubic"]["features"] == 1
    assert rows["aged", "orthosharp"]["feature_distance"] > 0
    assert set(JUDGED) <= rows["new photo", "orthosharp"].keys()
    assert {"features", "rise"} <= rows["aged", "orthosharp"]["intervals"].keys()


def test_the_network_of_the_loss_does_not_judge(tmp_path, small):
    fitted = write_run(tmp_path / "run", small, write_tiny_weights)
    weights, vgg = fitted / "last.safetensors", write_vgg(tmp_path / "vgg.safetensors")
    refused = run("evaluate", weights, small, "--judge", vgg)
    assert refused.exit_code == 2
    assert "used vgg16, which cannot judge them: leave --judge out" in refused.output
    assert run("evaluate", weights, small, "--judge", vgg, "--no-aged").exit_code == 2

    spec = Restorer.open(weights).spec
    assert loss_networks_of(weights, spec) == ("vgg16",)
    alone = shutil.copy(weights, tmp_path / "alone.safetensors")
    assert loss_networks_of(alone, spec) is None
    assert loss_networks_of(alone, spec, ["efficientnet-lite0"]) == ("efficientnet-lite0",)
    assert choose_judge(("vgg16",)).features.name == "efficientnet-lite0"
    assert choose_judge(("efficientnet-lite0",), vgg).features.name == "vgg16"
    assert choose_judge(("efficientnet-lite0",)).features is None
    assert "do not say" in choose_judge(None).sentence
    with pytest.raises(TrainingError, match="cannot judge"):
        choose_judge(("efficientnet-lite0", "vgg16"), vgg)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_network_that_taught_the_bundled_weights_does_not_judge_them(tmp_path, name):
    copied = Path(shutil.copy(bundled_weights_path(name), tmp_path / "mine.safetensors"))
    assert loss_networks_of(copied, load_weights(copied).spec) == ("efficientnet-lite0",)


def test_the_bundled_weights_are_told_to_need_another_judge(tmp_path, small):
    scores = tmp_path / "scores.json"
    told = run("evaluate", bundled_weights_path("small"), small, "--json", scores, "--draws", 100)
    assert told.exit_code == 0, told.output
    assert "Feature distance left out; the loss used efficientnet-lite0." in told.output
    assert json.loads(scores.read_text())["judge"] == {"features": None, "loss": ["efficientnet-lite0"]}


def test_the_networks_of_the_weights_to_start_from_do_not_judge_either(tmp_path, small):
    fitted = write_run(tmp_path / "run", small, write_tiny_weights)
    config = json.loads((fitted / "config.json").read_text())
    start = choose_start_networks(None, bundled_weights_path())
    (fitted / "config.json").write_text(json.dumps(config | {"start_networks": start}))
    weights = fitted / "last.safetensors"
    assert loss_networks_of(weights, load_weights(weights).spec) == ("efficientnet-lite0", "vgg16")
    # Through a second run, and through one that goes on.
    assert choose_start_networks(None, weights) == ("efficientnet-lite0", "vgg16")
    assert choose_start_networks({"start_networks": ["vgg16"]}, None) == ("vgg16",)
    assert choose_start_networks(None, None) == choose_start_networks({}, None) == ()
