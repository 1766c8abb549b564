import numpy as np
import pytest
import torch
from PIL import Image
from training_data import make_ground as ground
from training_data import old_and_new, write_vgg

from sr_model import load_weights
from training.config import FitConfig, LossWeights
from training.dataset import CropDataset, load_sharp
from training.errors import DatasetError, RunError
from training.fit import fit
from training.module import RestorationModule, one_cycle
from training.pairs import make_pairs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A few steps on real files: pairs, and a sharp picture to age."""
    folder = tmp_path_factory.mktemp("fit")
    make_pairs(*old_and_new(folder, 640), folder / "pairs", size_px=128, max_shift_m=4.0, min_confidence=0.0)
    Image.fromarray(ground(8, 256).astype(np.uint8)).save(folder / "sharp.png")
    return FitConfig(
        pairs=(str(folder / "pairs"),),
        degrade=(str(folder / "sharp.png"),),
        perceptual=str(write_vgg(folder / "vgg.safetensors")),
        steps=4,
        batch=2,
        crop_px=64,
        aged_share=0.5,
        precision="32-true",
        adversarial_from=0.0,
    )


def same(first, second):
    return all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def test_two_runs_with_one_seed_are_equal_and_a_stopped_one_resumes_exactly(config, tmp_path, monkeypatch):
    whole = fit(config, tmp_path / "whole", every=2)
    again = fit(config, tmp_path / "again", every=2)
    assert same(whole, again)

    step = RestorationModule.training_step

    def fails_at_the_third(module, *arguments):
        if module.step == 3:
            raise RuntimeError("power cut")
        return step(module, *arguments)

    monkeypatch.setattr(RestorationModule, "training_step", fails_at_the_third)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(config, tmp_path / "stopped", every=2)
    monkeypatch.undo()
    assert not same(whole, load_weights(tmp_path / "stopped" / "last.safetensors"))
    resumed = fit(config, tmp_path / "stopped", every=2, resume=True)
    assert same(whole, resumed)


def test_resuming_nothing_says_so(config, tmp_path):
    with pytest.raises(RunError, match="without --resume"):
        fit(config, tmp_path / "empty", resume=True)


def test_no_pickle_is_written(config, tmp_path):
    fit(config, tmp_path / "run", every=4)
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {"last.safetensors", "progress.safetensors", "config.json"} <= names
    assert not [name for name in names if name.endswith((".ckpt", ".pt", ".pth", ".pkl"))]


def test_pixel_terms_alone_need_no_vgg_and_lower_the_loss(config, tmp_path):
    chosen = {**config.__dict__, "loss": LossWeights.of_pixels(), "steps": 20, "batch": 4, "lr": 2e-3}
    trained = fit(FitConfig(**chosen), tmp_path / "pixels", every=20)
    dataset = CropDataset([], load_sharp(config.degrade), crop_px=64, length=4, aged_share=1.0, seed=9)
    old, new, _ = dataset[0]
    network = trained.network()
    with torch.inference_mode():
        module = RestorationModule(config, trained.spec)
        restored = module.restore(network, old[None].float() / 255, torch.zeros(1, 1, 64, 64))
    assert torch.isfinite(restored).all()
    assert restored.shape[1:] == new.shape


def test_the_learning_rate_rises_and_falls():
    rates = [one_cycle(step, 100) for step in range(101)]
    assert max(rates) == pytest.approx(1)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.02)


def test_an_item_is_a_function_of_its_index_and_the_seed(config):
    made = [
        CropDataset([], load_sharp(config.degrade), crop_px=64, length=8, aged_share=1.0, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0][3][0], made[1][3][0])
    assert not torch.equal(made[0][3][0], made[2][3][0])
    assert not torch.equal(made[0][3][0], made[0][4][0])


def test_nothing_to_train_on_and_small_pictures_are_refused(config):
    with pytest.raises(DatasetError, match="nothing to train on"):
        CropDataset([], [], crop_px=64, length=8, aged_share=0.5, seed=0)
    small = CropDataset([], [np.zeros((32, 32, 3), np.uint8)], crop_px=64, length=8, aged_share=1, seed=0)
    with pytest.raises(DatasetError, match="smaller than the crop"):
        small[0]
    with pytest.raises(DatasetError, match="cannot be read"):
        load_sharp(["/nowhere/none.png"])
