import json

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from made_models import write_model
from PIL import Image
from scipy.ndimage import gaussian_filter
from training_data import make_ground, write_photo

from sr_model import load_weights
from sr_model.halo import dehalo
from training.cli.main import main
from training.data.dataset import Item
from training.data.taught import TaughtCrop, TaughtDataset, check_side, list_crops, on_grid
from training.errors import DatasetError, DivergedError, RunError, StoppedError
from training.evaluate.judge import loss_networks_of
from training.teach.discriminator import TextureDiscriminator, counted
from training.teach.ground import Ground
from training.teach.learn import LearnConfig, Learner, TaughtWeights, learn

PIXELS_ONLY = TaughtWeights(features=0.0)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A teacher, an old photograph and a sharp picture."""
    folder = tmp_path_factory.mktemp("places")
    model = write_model(folder / "model.safetensors", strength=0.1)
    terms = ["--licence", "MIT", "--credit", "Somebody"]
    made = run("import", model, "--ratio", 2, "--out", folder / "teacher.safetensors", *terms)
    assert made.exit_code == 0, made.output
    soft = gaussian_filter(make_ground(1, 700), (0.8, 0.8, 0))
    ringed = np.clip(soft + 1.2 * (soft - gaussian_filter(soft, (1.5, 1.5, 0))), 0, 255)
    write_photo(folder / "old.tif", ringed.astype(np.uint8), 1.0)
    Image.fromarray(make_ground(2, 480).astype(np.uint8)).save(folder / "sharp.png")
    return folder


def cut(places, out, *more):
    options = ["--sharp", places / "sharp.png", "--teacher", places / "teacher.safetensors"]
    return run("crops", places / "old.tif", *options, "--out", out, *more)


@pytest.fixture(scope="module")
def crops(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops") / "crops"
    made = cut(places, folder, "--most", 6)
    assert made.exit_code == 0, made.output
    assert "holds 6 crops" in made.output
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_crop_is_a_square_and_an_answer_of_twice_its_size(crops):
    photo, answer, (amount, radius_px) = TaughtCrop(crops, 0, 0, 0).read()
    assert (photo.shape, answer.shape) == ((192, 192, 3), (384, 384, 3))
    assert radius_px > 0
    # The answer shows the same ground: nothing is moved, by half a pixel neither.
    undone = dehalo(photo, amount, radius_px).astype(float).mean(2)
    reduced = answer.astype(float).mean(2).reshape(192, 2, 192, 2).mean((1, 3))
    assert np.corrcoef(undone.ravel(), reduced.ravel())[0, 1] > 0.98
    right = np.corrcoef(undone[:, 1:].ravel(), reduced[:, :-1].ravel())[0, 1]
    assert right < 0.97


def test_the_unsharp_mask_of_a_photograph_is_measured_and_half_of_it_undone(crops, places):
    record = json.loads((crops / "crops.json").read_text())
    (photo,) = record["photographs"]
    assert photo["path"] == "old.tif"
    assert 0.3 < photo["halo_amount"] < 0.9
    assert record["sharp"] == ["sharp.png"]
    assert record["teacher"]["credit"] == "Somebody"
    assert str(places) not in json.dumps(record)
    halos = {TaughtCrop(crops, number, 0, 0).read()[2][0] for number in range(6)}
    assert halos == {0.0, photo["halo_amount"]}


def test_a_soft_photograph_is_cut_at_what_it_resolves(tmp_path):
    soft = gaussian_filter(make_ground(3, 900), (2.2, 2.2, 0)).astype(np.uint8)
    found = Ground.measured(write_photo(tmp_path / "soft.tif", soft, 1.0))
    assert found.reduction > 1.5
    assert found.square(192, np.random.default_rng(1)).shape == (192, 192, 3)


def test_the_same_call_goes_on_and_leaves_what_is_there(crops, places, tmp_path):
    folder = tmp_path / "crops"
    assert cut(places, folder, "--most", 2).exit_code == 0
    first = contents(folder)
    assert cut(places, folder, "--most", 6).exit_code == 0
    assert first.items() <= contents(folder).items()
    assert contents(folder) == contents(crops)
    # A photograph that was lost on the way is made again, to the bit.
    (folder / "000003.png").unlink()
    assert cut(places, folder, "--most", 6).exit_code == 0
    assert contents(folder) == contents(crops)
    assert cut(places, folder, "--most", 6, "--minutes", 1e-9).exit_code == 0


def test_crops_of_others_are_not_mixed(crops, places, tmp_path):
    refused = cut(places, crops, "--most", 7, "--seed", 5)
    assert refused.exit_code == 2
    assert "holds crops with another seed" in refused.output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "holds other files" in cut(places, tmp_path / "mine").output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "there is nothing to cut crops from"),
        (["--sharp", "small.png"], "is smaller than a square of 416 px"),
        (["deep.tif"], "does not hold bytes"),
        (["words.tif"], "cannot be read"),
    ],
)
def test_pictures_that_give_no_crops_are_refused(places, tmp_path, words, why):
    Image.new("RGB", (300, 300)).save(tmp_path / "small.png")
    write_photo(tmp_path / "deep.tif", np.zeros((300, 300, 3), np.uint16), 1.0)
    (tmp_path / "words.tif").write_text("words")
    named = [tmp_path / word if "." in word else word for word in words]
    refused = run("crops", *named, "--teacher", places / "teacher.safetensors", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert why in refused.output


def test_a_small_picture_among_others_is_refused_before_the_first_crop(places, tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "small.png")
    refused = cut(places, tmp_path / "out", "--sharp", tmp_path / "small.png")
    assert refused.exit_code == 2
    assert "small.png is smaller than a square of 416 px" in refused.output
    assert not (tmp_path / "out").exists()


def test_photographs_with_gaps_give_no_crop(tmp_path):
    picture = make_ground(1, 300).astype(np.uint8)
    picture[100:200, 100:200] = 0
    path = write_photo(tmp_path / "holed.tif", picture, 1.0)
    assert Ground(path).square(208, np.random.default_rng(1)) is None
    with rasterio.open(path, "r+") as file:
        file.nodata = 7
        file.write(np.full((1, 300, 300), 7, np.uint8).repeat(3, 0))
    assert Ground(path).square(208, np.random.default_rng(1)) is None


def test_our_own_weights_are_no_teacher(places, tmp_path):
    from sr_model import bundled_weights_path

    refused = run("crops", places / "old.tif", "--teacher", bundled_weights_path(), "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "is not a super-resolution model" in refused.output


def write_crop(folder, photo, answer, own, own_in_woods, **more):
    folder.mkdir()
    record = {"own_texture": own, "own_texture_in_woods": own_in_woods, **more}
    (folder / "crops.json").write_text(json.dumps(record))
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("halo", "[0.0, 1.0]")
    for number in range(2):
        Image.fromarray(photo).save(folder / f"{number:06d}.png", pnginfo=about)
        Image.fromarray(answer).save(folder / f"{number:06d}.answer.jpg", quality=95, subsampling=0)
    return list_crops([folder], "train")[0]


def test_what_is_learnt_keeps_the_photographs_texture_in_woods(tmp_path):
    random = np.random.default_rng(1)
    woods = gaussian_filter(random.normal(0, 1, (192, 192)), 0.7)
    photo = np.full((192, 192), 120.0)
    photo[:, :96] += 60 * woods[:, :96] / woods.std()
    photo = np.repeat(np.clip(photo, 0, 255)[..., None], 3, 2).astype(np.uint8)
    answer = np.full((384, 384, 3), 120, np.uint8)
    old, wanted, where = on_grid(write_crop(tmp_path / "crops", photo, answer, 0.2, 0.5), 384)
    assert where[100:-100, 60:100].mean() > 0.9
    assert where[100:-100, -100:].mean() < 0.05
    grey = 120 / 255
    trees = np.s_[100:-100, 60:100]
    kept = np.abs(wanted[trees] - grey).mean() / np.abs(old[trees] - grey).mean()
    assert kept == pytest.approx(0.5, abs=0.06)


def test_crisp_answers_have_narrower_edges_and_no_halo(tmp_path):
    step = 60 + 120 * gaussian_filter(
        np.repeat(np.arange(384) >= 192, 384).reshape(384, 384).astype(float), 1.5
    )
    answer = np.repeat(step[..., None], 3, 2).round().astype(np.uint8)
    photo = answer[::2, ::2]
    soft, crisp = (
        on_grid(write_crop(tmp_path / str(amount), photo, answer, 0, 0, crispness=amount), 384)[1][..., 1]
        for amount in (0, 2)
    )
    assert crisp.min() >= soft.min()
    assert crisp.max() <= soft.max()
    rise = [int(((picture > 0.28) & (picture < 0.65)).sum(0)[192]) for picture in (soft, crisp)]
    assert rise[1] <= rise[0] - 1


def test_squares_are_functions_of_their_number(crops):
    data = TaughtDataset(list_crops([crops], "train"), seed=3)
    for part, again in zip(data[Item(5, 112)], data[Item(5, 112)], strict=True):
        assert torch.equal(part, again)
    old, wanted, woods = data[Item(6, 64)]
    assert old.shape == wanted.shape == (3, 64, 64)
    assert woods.shape == (1, 64, 64)
    assert not torch.equal(old, data[Item(5, 64)][0])


def test_every_square_that_is_allowed_fits_and_larger_ones_are_refused(crops):
    check_side(248)
    with pytest.raises(DatasetError, match="choose --sizes of 250 px at most"):
        check_side(256)
    data = TaughtDataset(list_crops([crops], "train"), seed=3)
    assert {data[Item(number, 248)][0].shape[-1] for number in range(12)} == {248}


def test_one_crop_in_twenty_is_kept_to_look_at(crops):
    kept, learnt = ({crop.number for crop in list_crops([crops], split)} for split in ("validation", "train"))
    assert kept == {0}
    assert learnt == {1, 2, 3, 4, 5}


def test_a_damaged_crop_names_its_file(tmp_path):
    picture = np.zeros((192, 192, 3), np.uint8)
    crop = write_crop(tmp_path / "crops", picture, picture.repeat(2, 0).repeat(2, 1), 0, 0)
    (tmp_path / "crops" / f"{crop.number:06d}.answer.jpg").write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"remove 000001\.png"):
        crop.read()


def test_the_discriminator_does_not_count_in_woods():
    torch.manual_seed(1)
    logits = TextureDiscriminator()(torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64))
    assert logits.shape == (2, 1, 8, 8)
    woods = torch.zeros(2, 1, 64, 64)
    woods[..., :32] = 1
    changed = logits.clone()
    changed[..., :4] += 5
    assert torch.allclose(counted(logits, woods, real=True), counted(changed, woods, real=True))
    assert not torch.allclose(counted(logits, 1 - woods, real=True), counted(changed, 1 - woods, real=True))
    assert float(counted(logits.detach(), torch.ones_like(woods), real=True)) == 0


def test_a_network_learns_from_crops_and_a_resumed_run_ends_the_same(crops, tmp_path, monkeypatch):
    config = LearnConfig((str(crops),), steps=6, batch=2, side_px=64, loss=PIXELS_ONLY, seed=1)
    whole = learn(config, tmp_path / "whole", every=3)
    assert whole.spec.architecture == "half_scale"
    learner = Learner(LearnConfig(config.crops, steps=300, loss=PIXELS_ONLY), None)
    data = TaughtDataset(list_crops([crops], "train"), 1)
    batch = [torch.stack(parts) for parts in zip(*(data[Item(n, 64)] for n in range(2)), strict=True)]
    totals = [sum(learner.learn(batch).values()) for _ in range(30)]
    assert np.mean(totals[-5:]) < 0.9 * totals[0]

    import training.teach.learn as module

    kept = module._keep

    def interrupt(learner, run):
        kept(learner, run)
        if learner.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_keep", interrupt)
    with pytest.raises(StoppedError, match="step 3 is saved"):
        learn(config, tmp_path / "parts", every=3)
    monkeypatch.undo()
    with pytest.raises(RunError, match="go on with --resume"):
        learn(config, tmp_path / "parts", every=3)
    with pytest.raises(RunError, match="other choices of lr"):
        learn(
            LearnConfig((str(crops),), 6, 2, 64, 1e-5, seed=1, loss=PIXELS_ONLY),
            tmp_path / "parts",
            resume=True,
        )
    assert learn(config, tmp_path / "parts", every=3, resume=True).digest == whole.digest


def test_a_loss_that_is_not_finite_leaves_what_was_saved(crops):
    learner = Learner(LearnConfig((str(crops),), loss=PIXELS_ONLY), None)
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    bad = torch.full((1, 3, 64, 64), float("nan"))
    with pytest.raises(DivergedError, match="lower --lr"):
        learner.learn((bad, bad, torch.zeros(1, 1, 64, 64)))
    assert all(torch.equal(value, before[name]) for name, value in learner.network.state_dict().items())


def test_the_commands_lead_to_weights_that_the_server_takes(crops, tmp_path):
    from sr_model import bundled_weights_path

    fitted = run(
        "fit", "--crops", crops, "--out", tmp_path / "run", "--steps", 2, "--batch", 2, "--sizes", 64,
        "--weight", "adversarial=0.1", "--init", bundled_weights_path(),
    )  # fmt: skip
    assert fitted.exit_code == 0, fitted.output
    assert "kept crops: luminance" in fitted.output
    weights = tmp_path / "run" / "last.safetensors"
    assert loss_networks_of(weights, load_weights(weights).spec) == ("efficientnet-lite0",)
    words = ["--provenance", "a test", "--credit", "nobody"]
    exported = run("export", tmp_path / "run", tmp_path / "mine.safetensors", *words)
    assert exported.exit_code == 0, exported.output
    spec = load_weights(tmp_path / "mine.safetensors").spec
    assert spec.is_relative
    assert spec.training["taught"][0]["teacher"]["credit"] == "Somebody"
    assert str(tmp_path) not in spec.to_json()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--pixels-only"], "has no meaning with --crops"),
        (["--sizes", "64,128"], "one size is learnt"),
        (["--weight", "colour=3"], "not a term of this loss"),
    ],
)
def test_options_of_pairs_are_refused_for_crops(crops, tmp_path, words, why):
    refused = run("fit", "--crops", crops, "--out", tmp_path / "run", *words)
    assert refused.exit_code == 2
    assert why in " ".join(refused.output.split())
