import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_tiny_weights
from training_data import strip, write_photo, write_site

from sr_model import Restorer, load_weights
from training.errors import DatasetError
from training.evaluate.report import evaluation_page
from training.evaluate.score import Choices, check_choices, document, evaluate_site
from training.evaluate.tables import summary
from training.measure.metrics import TextureFeatures
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
def choices(tmp_path_factory, site):
    """A baseline that knows the truth, with a name that a page must escape."""
    path = tmp_path_factory.mktemp("baseline") / "G&N.tif"
    return Choices((write_photo(path, strip(site, "new", SPLITS), 1.0, ORIGIN),), draws=200)


@pytest.fixture(scope="module")
def scores(restorer, site, choices):
    return evaluate_site(restorer, site, TextureFeatures(), choices)


def value(scores, truth, method, name):
    (score,) = (s for s in scores if (s.truth, s.method) == (truth, method))
    return score.estimates[name].value


def test_every_way_has_its_metrics(scores):
    real = ["bicubic", "unsharp mask", "G&N", "orthosharp", "new photo"]
    assert [score.method for score in scores if score.truth == "new photo"] == real
    assert [score.method for score in scores if score.truth == "aged"] == [m for m in real if m != "G&N"]
    assert {(score.chips, score.blocks) for score in scores} == {(3, 3)}
    assert value(scores, "new photo", "new photo", "high_frequency") == 1
    assert value(scores, "new photo", "bicubic", "texture_to_bicubic") == pytest.approx(1)
    assert value(scores, "new photo", "bicubic", "structure") > 0.999
    assert value(scores, "new photo", "bicubic", "moved_px") < 0.01


def test_a_baseline_that_knows_the_truth_beats_all(scores):
    for name, sign in (("psnr_db", 1), ("ssim", 1), ("perceptual", -1), ("improvement", 1), ("omission", -1)):
        best = value(scores, "new photo", "G&N", name)
        for method in ("bicubic", "unsharp mask", "orthosharp"):
            assert sign * best > sign * value(scores, "new photo", method, name), (name, method)
    assert value(scores, "new photo", "bicubic", "omission") > 0.9
    assert value(scores, "new photo", "G&N", "texture_to_bicubic") < 0.5


def test_intervals_hold_their_value(scores):
    for score in scores:
        for name in ("structure", "consistency", "high_frequency"):
            estimate = score.estimates[name]
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9, (score.method, name)


def test_the_same_seed_gives_the_same_document(scores, restorer, site, choices):
    again = evaluate_site(restorer, site, TextureFeatures(), choices)
    documents = [json.dumps(document(restorer, s, choices), allow_nan=False) for s in (scores, again)]
    assert documents[0] == documents[1]
    read = json.loads(documents[0])
    assert read["model"]["digest"] == restorer.digest
    row = next(row for row in read["scores"] if row["method"] == "orthosharp")
    assert row["intervals"]["texture_distance"][0] < row["intervals"]["texture_distance"][1]


def test_the_terminal_shows_narrow_tables(scores):
    text = summary(scores)
    assert "| town | G&N |" in text
    assert "of bicubic's; 3 blocks of ground\ntown: seams" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_page_needs_no_other_file_and_escapes_names(scores, restorer, site, choices):
    page = evaluation_page(restorer, [site], scores, choices, 2, ["Survey <1998>"])
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "G&amp;N" in page
    assert "G&N" not in page
    assert "Survey &lt;1998&gt;" in page
    # Two chips and the worst, that may be one of them, in five ways; then aged in four.
    assert page.count("data:image/jpeg") in (5 * n + 4 * m for n in (2, 3) for m in (2, 3))
    assert "where features differ most" in page


def test_a_folder_without_validation_and_tiny_chips_are_refused(tmp_path, restorer):
    with pytest.raises(DatasetError, match="larger --validation"):
        check_choices([write_site(tmp_path / "none", ("train",), size=64)], Choices(), restorer.spec)
    small = write_site(tmp_path / "small", ("validation",), size=128)
    with pytest.raises(DatasetError, match="--size 256"):
        evaluate_site(restorer, small, TextureFeatures())


@pytest.mark.parametrize(
    ("size", "chips", "why"),
    # A spectrum of what all phases show; a distance of two patches; and both.
    [(200, 2, "--size 256"), (256, 1, "larger"), (256, 2, None), (320, 1, None)],
)
def test_chips_that_lack_a_metric_are_refused_before_any_work(tmp_path, restorer, size, chips, why):
    folder = write_site(tmp_path / "site", ("validation",) * chips, size=size)
    if why:
        with pytest.raises(DatasetError, match=why):
            check_choices([folder], Choices(), restorer.spec)
        return
    check_choices([folder], Choices(), restorer.spec)
    scores = evaluate_site(restorer, folder, TextureFeatures())
    json.dumps(document(restorer, scores, Choices()), allow_nan=False)


def test_folders_of_one_name_are_refused(tmp_path, restorer):
    folders = [write_site(tmp_path / town / "pairs", ("validation",) * 2, size=256) for town in ("a", "b")]
    with pytest.raises(DatasetError, match="2 of the folders are called 'pairs'"):
        check_choices(folders, Choices(), restorer.spec)


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
