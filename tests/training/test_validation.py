import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_data import old_and_new

from sr_model import load_weights
from training.data.dataset import load_pairs
from training.fit.config import FitConfig, LossWeights
from training.fit.run import fit
from training.fit.validation import Look, Validation
from training.pairs.make import make_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    make_pairs(*old_and_new(folder, 640), folder / "pairs", size_px=128, max_shift_m=4.0, min_confidence=0.0)
    return folder / "pairs"


@pytest.mark.slow
def test_what_is_aged_scores_one_and_what_undoes_the_ageing_less(pairs):
    validation = Validation([pairs], stride=16)
    look, sheet = validation.look(7, lambda old, _photo: old)
    assert (look.step, look.feature_distance) == (7, pytest.approx(1))
    assert look.structure == pytest.approx(1)
    chips = load_pairs([pairs], "validation")
    assert (sheet[:128, :128] == chips[0].old).all()
    assert (sheet[:128, -256:-128] == chips[0].new).all()

    # The truth for what it is shown: the new photo for the old one, and for what was aged what it was.
    new_of = {pair.old.tobytes(): pair.new for pair in chips}
    (site,) = validation._sites
    new_of |= {aged.tobytes(): pair.new for aged, pair in zip(site.aged, site.pairs, strict=True)}
    look, sheet = validation.look(8, lambda old, _photo: new_of[old.tobytes()])
    assert look.feature_distance < 0.01
    assert (sheet[:128, 260:388] == chips[0].new).all()


def test_ageing_is_the_same_at_every_look_and_the_judge_is_never_the_network_of_the_loss(pairs):
    first, second = (Validation([pairs], stride=16, loss_networks=("vgg16",)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first._sites[0].aged, second._sites[0].aged, strict=True))
    assert first._sites[0]._judge.name == "efficientnet-lite0"


def test_texture_that_is_not_the_ground_s_does_not_win(pairs):
    """Grain has the texture distance of a sharp photo; where the truth is known, it is no nearer to it."""
    validation = Validation([pairs], stride=16)
    grain = np.random.default_rng(1).normal(0, 12, (128, 128, 1))

    def grainy(old, _photo):
        return np.clip(old + grain, 0, 255).astype(np.uint8)

    assert validation.look(1, grainy)[0].feature_distance > 1


def test_a_picture_of_other_ground_costs_more_than_any_texture():
    assert Look.of(1, 0.6, 0.96).score == 0.6
    assert Look.of(1, 0.6, 0.85).score == pytest.approx(1.6)


def test_pairs_without_validation_chips_are_not_an_error(pairs, tmp_path):
    lines = [json.loads(line) for line in (pairs / "manifest.jsonl").read_text().splitlines()]
    for name in ("manifest.jsonl", "site.json"):
        (tmp_path / name).write_text((pairs / name).read_text())
    kept = [line for line in lines if line["split"] != "validation"]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
    assert len(Validation([tmp_path], stride=16)) == 0


@pytest.mark.slow
def test_a_run_keeps_its_best_weights_scores_sheets_and_scalars(pairs, tmp_path):
    config = FitConfig(
        pairs=(str(pairs),),
        loss=LossWeights.of_pixels(),
        steps=4,
        batch=2,
        sizes_px=(64,),
        validate_every=2,
        precision="32-true",
    )
    run = tmp_path / "run"
    fit(config, run, every=2)
    looks = [Look(**json.loads(line)) for line in (run / "validation.jsonl").read_text().splitlines()]
    assert [look.step for look in looks] == [2, 4]
    best = min(looks, key=lambda look: look.score)
    assert load_weights(run / "best.safetensors").digest == best.digest
    assert load_weights(run / "last.safetensors").digest == looks[-1].digest
    assert sorted(path.name for path in (run / "sheets").iterdir()) == [
        "step_0000002.png",
        "step_0000004.png",
    ]
    with Image.open(run / "sheets" / "step_0000004.png") as sheet:
        assert sheet.width == 3 * 256 + 2 * 4

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("validation/score")] == [2, 4]
    assert np.isclose(events.Scalars("validation/score")[-1].value, looks[-1].score, atol=1e-5)
    assert {"loss/pixel_real", "loss/colour", "loss/structure", "rate/lr"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Images("old | restored | new")] == [2, 4]
