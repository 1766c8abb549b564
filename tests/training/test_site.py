"""The parts of `orthosharp-train site`: ageing as measured, chips that fit, the journal, the page and the verdict."""

import json
from dataclasses import asdict, replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from training_data import make_ground, old_and_new, write_site

from sr_model.measure import estimate_blur_and_halo
from sr_model.names import plain_name
from sr_model.spec import ModelSpec
from training.cli.main import main
from training.data.ageing import Ageing
from training.data.dataset import CropDataset, Item, Pair
from training.errors import PairError, RunError
from training.evaluate.methods import BICUBIC, NEW, OURS
from training.evaluate.score import AGED, REAL, Ground
from training.measure.bootstrap import Estimate
from training.measure.metrics import luma
from training.pairs.grid import common_ground
from training.site.chips import SIZES_PX, plan_for
from training.site.journal import Journal
from training.site.options import SiteOptions
from training.site.plan import SitePlan, check_disk, choose_steps
from training.site.preview import STEPS, Preview
from training.site.run import make_site
from training.site.traits import measured_ageing
from training.site.trial import Speed
from training.site.verdict import BUNDLED, Verdict, compare

PLAN = SitePlan(
    gsd_m=0.3,
    old_gsd_m=0.6,
    new_gsd_m=0.3,
    resolved_gsd_m=0.6,
    size_px=250,
    step_px=125,
    max_shift_m=15,
    chips=120,
    kept=20,
    steps=100,
    every=10,
    look_every=12,
    batch=8,
    pairs_s=60,
    step_s=3,
    training_s=300,
    evaluation_s=240,
    disk_bytes=80_000_000,
    old_traits={},
    new_traits={},
)


NOT_AGED = Ageing(1.0, 0.0, 0.0, 1.0, 0.0, ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)))


def traits(pictures):
    return estimate_blur_and_halo([luma(picture).astype(np.float32) for picture in pictures])


def test_aged_chips_measure_like_the_old_photograph():
    truth = Ageing(1.0, 1.3, 0.5, 1.6, 2.5, ((0.6, 0.1, 0, 0.2), (0, 0.7, 0, 0.15), (0, 0, 0.5, 0.25)))
    news = [np.clip(make_ground(seed, 256), 0, 255).astype(np.uint8) for seed in range(6)]
    olds = [truth(new, np.random.default_rng(seed)) for seed, new in enumerate(news)]
    pairs = [Pair(str(n), old, new) for n, (old, new) in enumerate(zip(olds, news, strict=True))]
    found = measured_ageing(traits(olds), traits(news), (0.3, 0.3, 0.3), pairs)
    aged = [found(new, np.random.default_rng(100 + seed)) for seed, new in enumerate(news)]
    wanted, got, sharp = traits(olds), traits(aged), traits(news)
    assert abs(got.rise_px - wanted.rise_px) < 0.15 * wanted.rise_px < abs(wanted.rise_px - sharp.rise_px)
    assert abs(got.overshoot - wanted.overshoot) < 0.04
    assert abs(got.grain - wanted.grain) < 0.4 * wanted.grain
    means = [
        np.mean([picture.reshape(-1, 3).mean(0) for picture in side], axis=0) for side in (olds, aged, news)
    ]
    assert np.abs(means[0] - means[1]).max() < 2 < np.abs(means[0] - means[2]).max()


def test_an_ageing_that_was_measured_is_used_on_new_chips_alone():
    new = np.full((128, 128, 3), 200, np.uint8)
    pairs = [Pair("a", np.zeros_like(new), new)]
    dark = Ageing(1.0, 0.0, 0.0, 1.0, 0.0, ((0.5, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0.5, 0)))
    crops = [CropDataset(pairs, [], aged_share=0.5, seed=0, ageing=dark)[Item(n, 64)] for n in range(40)]
    aged = [old.float().mean().item() for old, _, exact in crops if exact]
    assert 8 < len(aged) < 32
    assert aged == pytest.approx([100] * len(aged), abs=1)
    assert not any(
        exact
        for _, _, exact in (CropDataset(pairs, [], aged_share=0.5, seed=0)[Item(n, 64)] for n in range(9))
    )


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return common_ground(*old_and_new(tmp_path_factory.mktemp("grid"), 320), None, SIZES_PX[-1], 1).grid


@pytest.mark.parametrize(("side_px", "size_px"), [(700, 128), (1433, 192), (2250, 320), (9000, 500)])
def test_chips_are_as_large_as_the_site_allows(grid, side_px, size_px):
    count = side_px - SIZES_PX[-1] + 1
    plan = plan_for(replace(grid, columns=count, rows=count), None)
    assert plan.size_px == size_px
    assert 9 <= plan.train <= 2000
    assert plan.validation >= 3
    assert plan.max_shift_m <= plan.size_px * grid.gsd_m / 2


def test_a_site_that_is_smaller_than_two_chips_is_refused(grid):
    with pytest.raises(PairError, match=r"choose another --validation block|larger"):
        plan_for(replace(grid, columns=10, rows=10), None)


def test_steps_follow_from_the_hours_and_never_exceed_them(tmp_path):
    options = SiteOptions(tmp_path, tmp_path, tmp_path, tmp_path)
    speed = Speed(step_s=2.0, restore_s=1.0)
    assert choose_steps(replace(options, steps=7), speed, 1e9) == 7
    assert choose_steps(replace(options, hours=1.0), speed, 1600) == 1000
    assert choose_steps(options, speed, 100) == 3000
    assert choose_steps(options, Speed(100.0, 1.0), 100) == (8 * 3600 - 100) // 100
    with pytest.raises(RunError, match=r"--hours 0\.1: .*give 0\.\d+ or more"):
        choose_steps(replace(options, hours=0.1), speed, 1000)


def test_time_and_disk_are_told_and_a_full_disk_is_refused(tmp_path):
    said = []
    check_disk(PLAN, tmp_path, said.append)
    assert any("time: about 10 min" in line and "100 steps" in line for line in said)
    assert any("80 MB" in line for line in said)
    with pytest.raises(RunError, match="free space, or name a folder on another disk with --run"):
        check_disk(replace(PLAN, disk_bytes=1 << 60), tmp_path, said.append)


def test_a_step_that_is_done_is_not_done_again(tmp_path):
    journal = Journal(tmp_path / "run", {"steps": 3})
    assert journal.step("plan", lambda: {"chips": (1, 2)}) == {"chips": [1, 2]}

    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.step("pairs", fails)
    again = Journal(tmp_path / "run", {"steps": 3})
    assert again.step("plan", fails) == {"chips": [1, 2]}
    assert again.step("pairs", lambda: {"train": 4}) == {"train": 4}
    with pytest.raises(RunError, match="begun with other steps: give the same command to go on"):
        Journal(tmp_path / "run", {"steps": 4})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(RunError, match="not empty"):
        Journal(tmp_path / "other", {})


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_renews_itself_until_the_run_has_finished(tmp_path):
    (tmp_path / "fit" / "sheets").mkdir(parents=True)
    (tmp_path / "fit" / "config.json").touch()
    for step in (10, 20):
        (tmp_path / "fit" / "sheets" / f"step_{step:07d}.png").touch()
    for begun, rows in ((0, [(10, 3.0), (20, 9.0)]), (10, [(20, 2.0)])):
        folder = tmp_path / "fit" / "metrics" / f"from_{begun}"
        folder.mkdir(parents=True)
        lines = [f"{value},{step}" for step, value in rows]
        (folder / "metrics.csv").write_text("\n".join(["loss/colour,step", *lines]) + "\n")
    preview = Preview(tmp_path, "a <town>")
    preview.tell(["disk: about 80 MB"], {"pairs": 60, "fit": 7200, "evaluation": 60})
    preview.begin("fit")
    page = (tmp_path / "index.html").read_text()
    tags = _Tags(page).found
    assert ("meta", {"http-equiv": "refresh", "content": "10"}) in tags
    assert "about 2 h 2 min left" in page
    assert "a &lt;town&gt;" in page
    assert [tag["src"] for name, tag in tags if name == "img"] == [
        f"fit/sheets/step_{step:07d}.png" for step in (20, 10)
    ]
    assert all(
        f"<span>{title}</span>" in page for title in ("old photo, bicubic", "restored, step 20", "new photo")
    )
    assert "3 at first, 2 now" in page  # what followed the resumption counts
    for name in STEPS:
        preview.end(name)
    preview.judge({"sentence": "Not worth serving."})
    preview.write()
    page = (tmp_path / "index.html").read_text()
    assert not [tag for name, tag in _Tags(page).found if tag.get("http-equiv") == "refresh"]
    assert "Not worth serving." in page


def verdict(**changes):
    nearer = Estimate(0.9, 0.85, 0.95)
    same = Verdict(30, 12, "vgg16", nearer, nearer, nearer, nearer, structure=0.97, structure_of_bundled=0.97)
    return replace(same, **changes)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"real_to_bundled": Estimate(0.98, 0.94, 1.01)},
            "not surely nearer to the new photo than the bundled",
        ),
        ({"real_to_bicubic": Estimate(1.1, 1.05, 1.2)}, "plain enlarging"),
        ({"aged_to_bundled": Estimate(1.1, 1.05, 1.2)}, "farther from it than the bundled"),
        ({"structure": 0.8}, "agree less with the old photo"),
        ({"real_to_bundled": Estimate(0.5)}, "one block"),
    ],
)
def test_a_network_that_fails_any_check_is_not_worth_serving(changes, fault):
    assert verdict().is_worth_serving
    assert verdict().sentence.startswith("Worth serving: on 30 kept chips")
    failed = verdict(**changes)
    assert not failed.is_worth_serving
    assert failed.sentence.startswith("Not worth serving")
    assert fault in failed.sentence
    json.dumps(failed.as_json(), allow_nan=False)


class _PixelJudge:
    name = "pixels"

    def distance(self, picture, truth):
        return float(np.abs(picture.astype(float) - truth).mean())


def test_the_comparison_sees_which_network_is_nearer(tmp_path):
    random = np.random.default_rng(0)
    news = [np.clip(make_ground(seed, 96), 0, 255).astype(np.uint8) for seed in range(4)]

    def noisy(deviation):
        return [
            np.clip(new + random.normal(0, deviation, new.shape), 0, 255).astype(np.uint8) for new in news
        ]

    pictures = {BICUBIC: noisy(20), BUNDLED: noisy(12), OURS: noisy(6), NEW: news}
    write_site(tmp_path / "site", ("validation",) * 4, size=96)
    from training.data.manifest import read_manifest

    chips = read_manifest(tmp_path / "site")
    grounds = [Ground("site", truth, chips, [], pictures, 1.0, exact=True) for truth in (REAL, AGED)]
    found = compare(grounds, _PixelJudge())
    assert (found.chips, found.blocks) == (4, 4)
    assert found.real_to_bundled.value == pytest.approx(0.5, abs=0.1)
    assert found.real_to_bundled.high < 1
    assert found.aged_to_bicubic.value == pytest.approx(0.3, abs=0.1)
    swapped = [
        replace(ground, pictures=pictures | {OURS: pictures[BUNDLED], BUNDLED: pictures[OURS]})
        for ground in grounds
    ]
    assert not compare(swapped, _PixelJudge()).is_worth_serving


def test_a_name_that_is_none_and_two_bounds_are_refused(tmp_path):
    old, new = old_and_new(tmp_path, 320)
    words = ["site", str(old), str(new), "--out"]
    result = CliRunner().invoke(main, [*words, str(tmp_path / "mine.pth")])
    assert (result.exit_code, "mine.safetensors" in result.output) == (2, True)
    both = [*words, str(tmp_path / "mine.safetensors"), "--hours", "1", "--steps", "3"]
    result = CliRunner().invoke(main, both)
    assert (result.exit_code, "mutually exclusive" in result.output) == (2, True)


def test_weights_that_are_gone_or_have_other_terms_are_written_again(tmp_path, monkeypatch):
    for name in ("old.tif", "new.tif"):
        (tmp_path / name).write_bytes(b"a photograph")
    options = SiteOptions(
        tmp_path / "old.tif", tmp_path / "new.tif", tmp_path / "out.safetensors", tmp_path / "run", credit="A"
    )
    journal = Journal(options.run, options.as_json())
    verdict = {"sentence": "Worth serving.", "worth_serving": True}
    for step in STEPS:
        found = asdict(PLAN) if step == "plan" else asdict(NOT_AGED) if step == "ageing" else verdict
        if step != "export":
            journal.step(step, lambda found=found: found)
    written = []

    def write(run, out, *, credit, **_):
        written.append((out.name, credit.split(";")[0]))
        out.write_bytes(b"weights")
        return SimpleNamespace(files=[out], weights=SimpleNamespace(digest="0"))

    monkeypatch.setattr("training.site.run.export", write)
    other = replace(options, out=tmp_path / "other.safetensors")
    for asked in (options, options, replace(options, credit="B"), other, other):
        make_site(asked, lambda line: None)
    other.out.unlink()
    make_site(other, lambda line: None)
    assert written == [
        ("out.safetensors", "A"),
        ("out.safetensors", "B"),
        ("other.safetensors", "A"),
        ("other.safetensors", "A"),
    ]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Stadt Köln", "Stadt Koln"),
        ("Łódź/東京", "-odz---"),
        ("a" * 90, "a" * 64),
        (" ", "-"),
        ("v1.2_b", "v1.2_b"),
    ],
)
def test_any_file_name_makes_a_name_of_weights(stem, name):
    assert plain_name(stem) == name
    replace(ModelSpec.half_scale(), name=name)  # a name that does not fit is refused there
