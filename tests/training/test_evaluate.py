import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_tiny_weights
from training_data import strip, write_photo, write_site

from sr_model import Restorer, load_weights
from training.errors import DatasetError
from training.evaluate.judge import choose_judge
from training.evaluate.options import EvaluateOptions
from training.evaluate.report import evaluation_page
from training.evaluate.score import check_options, document, evaluate_site
from training.evaluate.tables import summary
from training.measure.seams import seam_sums

SPLITS = ("train", "validation", "validation", "validation")
ORIGIN = (753_000.0, 1_300_000.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("evaluate") / "town", SPLITS, size=240)


@pytest.fixture(scope="module")
def restorer(tmp_path_factory):
    return Restorer.open(write_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def options(tmp_path_factory, site):
    """A baseline that knows the truth, with a name that a page must escape."""
    path = tmp_path_factory.mktemp("baseline") / "G&N.tif"
    return EvaluateOptions((write_photo(path, strip(site, "new", SPLITS), 1.0, ORIGIN),), draws=200)


@pytest.fixture(scope="module")
def judge():
    return choose_judge(())


@pytest.fixture(scope="module")
def scores(restorer, site, options, judge):
    return evaluate_site(restorer, site, options, judge)


def value(scores, truth, method, name):
    (score,) = (s for s in scores if (s.truth, s.method) == (truth, method))
    return score.estimates[name].value


def test_every_way_has_its_metrics(scores):
    real = ["bicubic", "unsharp mask", "G&N", "orthosharp", "new photo"]
    assert [score.method for score in scores if score.truth == "new photo"] == real
    assert [score.method for score in scores if score.truth == "aged"] == [m for m in real if m != "G&N"]
    assert {(score.chips, score.blocks) for score in scores} == {(3, 3)}
    assert value(scores, "new photo", "new photo", "weave") == pytest.approx(1, abs=1e-3)
    assert value(scores, "new photo", "bicubic", "rise") == 1
    assert value(scores, "aged", "bicubic", "features") == 1
    for name in ("rims", "blotches"):
        assert value(scores, "new photo", "bicubic", name) == pytest.approx(0, abs=0.05)
    assert value(scores, "new photo", "bicubic", "structure") > 0.999
    assert value(scores, "new photo", "bicubic", "moved_px") < 0.01


def test_a_baseline_that_knows_the_truth_beats_all(scores):
    for name, sign in (("psnr_db", 1), ("ssim", 1), ("rise", -1), ("improvement", 1), ("omission", -1)):
        best = value(scores, "new photo", "G&N", name)
        for method in ("bicubic", "unsharp mask", "orthosharp"):
            assert sign * best > sign * value(scores, "new photo", method, name), (name, method)
    assert value(scores, "new photo", "bicubic", "omission") > 0.9


def test_intervals_hold_their_value(scores):
    for score in scores:
        for name in ("structure", "consistency", "rise", "blotches"):
            estimate = score.estimates[name]
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9, (score.method, name)


def test_the_same_seed_gives_the_same_document(scores, restorer, site, options, judge):
    again = evaluate_site(restorer, site, options, judge)
    documents = [json.dumps(document(restorer, s, options, judge), allow_nan=False) for s in (scores, again)]
    assert documents[0] == documents[1]
    read = json.loads(documents[0])
    assert read["model"]["digest"] == restorer.digest
    row = next(row for row in read["scores"] if row["method"] == "orthosharp")
    assert row["intervals"]["rise"][0] < row["intervals"]["rise"][1]
    assert read["judge"] == {"features": "efficientnet-lite0", "loss": []}


def test_the_terminal_shows_narrow_tables(scores):
    text = summary(scores)
    assert "| town | G&N |" in text
    assert "of bicubic's; 3 blocks of ground\ntown: seams" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_page_needs_no_other_file_and_escapes_names(scores, restorer, site, options, judge):
    page = evaluation_page(restorer, [site], scores, options, 2, ["Survey <1998>"], judge)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "G&amp;N" in page
    assert "G&N" not in page
    assert "Survey &lt;1998&gt;" in page
    # Two chips and the worst, that may be one of them, in five ways; then aged in four.
    assert page.count("data:image/jpeg") in (5 * n + 4 * m for n in (2, 3) for m in (2, 3))
    assert "where most is in neither photo" in page
    assert "judged by efficientnet-lite0" in page


def test_a_folder_without_validation_and_tiny_chips_are_refused(tmp_path, restorer):
    with pytest.raises(DatasetError, match="larger --validation"):
        check_options([write_site(tmp_path / "none", ("train",), size=64)], EvaluateOptions(), restorer.spec)
    small = write_site(tmp_path / "small", ("validation",), size=88)
    with pytest.raises(DatasetError, match="--size 96"):
        evaluate_site(restorer, small)


@pytest.mark.parametrize(
    ("size", "has"), [(96, set()), (192, {"pattern"}), (256, {"pattern", "drawn_pattern"})]
)
def test_small_chips_lack_what_they_cannot_tell(tmp_path, restorer, size, has):
    folder = write_site(tmp_path / "site", ("validation",), size=size)
    check_options([folder], EvaluateOptions(), restorer.spec)
    scores = evaluate_site(restorer, folder)
    json.dumps(document(restorer, scores, EvaluateOptions()), allow_nan=False)
    ours = next(score for score in scores if score.method == "orthosharp")
    assert ours.estimates.keys() & {"pattern", "drawn_pattern"} == has
    if size == 96:
        assert "rise" not in ours.estimates
        assert "too few edges" in summary(scores)
        assert re.search(r"\| site \| orthosharp \|  \|  \| [-.0-9]+ \|", summary(scores))


def test_folders_of_one_name_are_refused(tmp_path, restorer):
    folders = [write_site(tmp_path / town / "pairs", ("validation",) * 2, size=256) for town in ("a", "b")]
    with pytest.raises(DatasetError, match="2 of the folders are called 'pairs'"):
        check_options(folders, EvaluateOptions(), restorer.spec)


def test_a_halo_that_is_too_small_shows_a_seam(tmp_path):
    """The metric is near nothing with the halo that covers what the network sees, and not without one."""
    path = write_tiny_weights(tmp_path / "tiny.safetensors")
    weights = load_weights(path)
    old = np.random.default_rng(0).integers(0, 255, (320, 320, 3)).astype(np.uint8)
    covered, bare = (
        seam_sums(Restorer.from_weights(replace(weights, spec=replace(weights.spec, halo_px=halo))), old)
        for halo in (96, 0)
    )
    assert covered.difference < 0.05
    assert covered.step == pytest.approx(covered.centred_step, rel=1e-3)
    assert bare.difference > 1
    assert seam_sums(Restorer.from_weights(weights), old[:64, :64]) is None
