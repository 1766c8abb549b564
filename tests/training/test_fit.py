import io
import json
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import write_tiny_weights
from lightning.fabric import Fabric
from PIL import Image
from rich.console import Console
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.models import ResNet34_Weights, resnet34
from training_data import make_ground as ground
from training_data import old_and_new, write_site, write_vgg

from sr_model import ModelSpec, bundled_weights_path, load_weights
from training.data.dataset import CropDataset, Item, load_sharp
from training.errors import DatasetError, RunError, TrainingError
from training.fit.colours import match_colours
from training.fit.config import FitConfig, LossWeights
from training.fit.kinds import untrained_spec
from training.fit.loading import StepSampler, source_px
from training.fit.losses import Discriminator
from training.fit.module import RestorationModule, restore
from training.fit.run import fit
from training.fit.schedule import crops_at, encoder_cycle, one_cycle
from training.pairs.make import make_pairs


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
        sizes_px=(64,),
        aged_share=0.5,
        precision="32-true",
        validate_every=0,
    )


def same(first, second):
    return all(torch.equal(first.state[name], second.state[name]) for name in first.state)


@pytest.mark.slow
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


def test_resuming_nothing_or_with_other_choices_says_so_and_so_does_forgetting_to_resume(config, tmp_path):
    with pytest.raises(RunError, match="without --resume"):
        fit(config, tmp_path / "empty", resume=True)
    pixels = replace(config, loss=LossWeights.of_pixels(), steps=2)
    fit(pixels, tmp_path / "run")
    other = replace(pixels.loss, colour=1.0)
    with pytest.raises(RunError, match=r"other choices of loss\.colour, lr, steps"):
        fit(replace(pixels, steps=8, lr=1.0, loss=other), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="go on with --resume"):
        fit(pixels, tmp_path / "run")
    (tmp_path / "refined").mkdir()
    kept = (tmp_path / "run" / "last.safetensors").read_bytes()
    (tmp_path / "refined" / "last.safetensors").write_bytes(kept)
    with pytest.raises(RunError, match="name another folder"):
        fit(pixels, tmp_path / "refined")
    assert (tmp_path / "refined" / "last.safetensors").read_bytes() == kept
    assert same(
        fit(pixels, tmp_path / "run", resume=True), load_weights(tmp_path / "run" / "last.safetensors")
    )


@pytest.mark.parametrize("colours", ["network", "photo"])
def test_either_kind_starts_from_the_bundled_weights_and_resumes(config, tmp_path, monkeypatch, colours):
    chosen = replace(
        config, architecture="half_scale", colours=colours, loss=LossWeights.of_pixels(), steps=3
    )
    bundled = bundled_weights_path()
    whole = fit(chosen, tmp_path / "whole", init=bundled)
    begun = load_weights(bundled).state
    changed = [float((value - begun[name]).abs().max()) for name, value in whole.state.items()]
    assert 0 < max(changed) < 0.01  # trained, from where it began
    step = RestorationModule.training_step

    def fails_at_the_last(module, *arguments):
        if module.step == 2:
            raise RuntimeError("power cut")
        return step(module, *arguments)

    monkeypatch.setattr(RestorationModule, "training_step", fails_at_the_last)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(chosen, tmp_path / "stopped", init=bundled, every=1)
    monkeypatch.undo()
    other = replace(chosen, colours="network" if colours == "photo" else "photo")
    with pytest.raises(RunError, match="other choices of colours"):
        fit(other, tmp_path / "stopped", resume=True)
    resumed = fit(chosen, tmp_path / "stopped", resume=True)
    assert same(whole, resumed)
    assert resumed.spec == whole.spec


def test_relative_weights_declare_the_ratios_of_their_pairs(config, tmp_path):
    town, fine = (write_site(tmp_path / name, ("train", "validation")) for name in ("town", "fine"))
    chosen = replace(config, architecture="half_scale", colours="photo", pairs=(str(town),))
    spec = untrained_spec(chosen)
    assert (spec.is_relative, spec.colours, spec.gsd_m) == (True, "photo", 0)
    assert spec.ratio == pytest.approx(2)
    assert spec.ratio_range == pytest.approx((2 / 1.4, 2 / 0.7))
    site = json.loads((fine / "site.json").read_text())
    (fine / "site.json").write_text(json.dumps(site | {"gsd_m": site["old_gsd_m"] / 3}))
    both = untrained_spec(replace(chosen, pairs=(str(town), str(fine))))
    assert both.ratio == pytest.approx(6**0.5)
    assert both.ratio_range == pytest.approx((2 / 1.4, 3 / 0.7))
    assert both.max_ratio == both.ratio_range[1]
    kept = {"own_texture": 0.15, "own_texture_in_woods": 0.5}
    assert untrained_spec(replace(chosen, pairs=())) == replace(ModelSpec.half_scale(), **kept)
    (fine / "site.json").write_text(json.dumps(site | {"gsd_m": 2 * site["old_gsd_m"]}))
    with pytest.raises(DatasetError, match="make the pairs with a smaller --gsd"):
        untrained_spec(replace(chosen, pairs=(str(fine),)))
    with pytest.raises(TrainingError, match="leave out --architecture"):
        replace(chosen, architecture="compact")


def test_new_crops_get_the_colours_of_old_ones_and_keep_their_detail():
    sharp = torch.from_numpy(ground(4, 128).astype(np.float32) / 255).permute(2, 0, 1)[None]
    patches = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    coloured = (sharp + 0.3 * interpolate(patches, scale_factor=32)).clamp(0, 1)
    cast = torch.tensor([0.65, 0.6, 0.5]).view(1, 3, 1, 1)
    hazy = cast * coloured + 0.25
    old = avg_pool2d(hazy, 5, 1, 2, count_include_pad=False)
    matched = match_colours(coloured, old)
    # The least squares of soft pixels would have lost contrast: detail loses what haze takes, and no more.
    assert (matched - hazy).abs().mean() < 0.01
    assert float(matched.std() / hazy.std()) == pytest.approx(1, abs=0.03)
    ripples = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    water = 0.3 + 0.02 * ripples
    still = match_colours(water, torch.full_like(water, 0.4))
    assert float(still.mean()) == pytest.approx(0.4, abs=0.002)
    assert float(still.std() / water.std()) > 0.8


def test_weights_of_another_architecture_cannot_be_the_start(config, tmp_path):
    start = write_tiny_weights(tmp_path / "tiny.safetensors")
    with pytest.raises(RunError, match="--architecture compact"):
        fit(replace(config, architecture="resnet34", encoder="none"), tmp_path / "run", init=start)


def test_half_precision_that_the_machine_lacks_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="needs an NVIDIA GPU"):
        fit(replace(config, precision="16-mixed"), tmp_path / "run")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RunError, match="this machine has 1"):
        fit(replace(config, devices=2), tmp_path / "run")


@pytest.mark.slow
def test_half_precision_multiplies_in_bf16_and_does_not_round_the_pictures(config, tmp_path, monkeypatch):
    seen = {}
    forward = Discriminator.forward

    def noting(judge, rgb, old, features=()):
        seen["pictures"] = rgb.dtype, old.dtype
        judge.pixels[0].register_forward_hook(lambda _m, _i, out: seen.update(convolved=out.dtype))
        return forward(judge, rgb, old, features)

    monkeypatch.setattr(Discriminator, "forward", noting)
    fit(replace(config, precision="bf16-mixed", steps=1), tmp_path / "run")
    assert seen == {"pictures": (torch.float32, torch.float32), "convolved": torch.bfloat16}


def test_a_terminal_gets_a_bar_under_the_lines(config, tmp_path):
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=160)
    fit(replace(config, loss=LossWeights.of_pixels()), tmp_path / "run", every=2, console=console)
    assert "4/4" in terminal.getvalue()
    assert "crops/s" in terminal.getvalue()
    assert "step 4/4" in terminal.getvalue()


def test_no_pickle_is_written(config, tmp_path):
    fit(config, tmp_path / "run", every=4)
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {"last.safetensors", "progress.safetensors", "config.json"} <= names
    assert not [name for name in names if name.endswith((".ckpt", ".pt", ".pth", ".pkl"))]


def test_pixel_terms_alone_need_no_vgg_and_without_a_terminal_there_are_plain_lines(config, tmp_path, capsys):
    chosen = replace(config, loss=LossWeights.of_pixels(), perceptual="/nowhere/vgg.safetensors", steps=2)
    trained = fit(chosen, tmp_path / "pixels", every=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert " colour " in lines[0]
    restored = restore(trained.network(), trained.spec, torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    assert torch.isfinite(restored).all()
    assert restored.shape == (1, 3, 64, 64)


def test_the_learning_rate_rises_and_falls():
    rates = [one_cycle(step, 100) for step in range(101)]
    assert max(rates) == pytest.approx(1)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.02)


def test_a_pretrained_encoder_waits_and_then_learns_slower(config):
    module = RestorationModule(
        replace(config, architecture="resnet34", loss=LossWeights.of_pixels(), steps=100, lr=1.0),
        ModelSpec.resnet34(),
        Fabric(accelerator="cpu", devices=1),
    )
    rest, encoder = module.optimiser.param_groups
    assert {id(p) for p in encoder["params"]} == {id(p) for p in module.network.encoder.parameters()}
    for module.step in (0, 19, 20, 60, 99):
        module.schedule()
        assert rest["lr"] == one_cycle(module.step, 100)
        assert encoder["lr"] == (0 if module.step < 20 else pytest.approx(0.1 * rest["lr"]))
    assert encoder_cycle(0, 100) == 0


@pytest.mark.slow
def test_the_published_network_trains_from_imagenets_encoder(config, tmp_path, monkeypatch):
    chosen = replace(config, architecture="resnet34", loss=LossWeights.of_pixels(), steps=2, batch=1)
    begun = resnet34(weights=None).state_dict()
    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", lambda *_args, **_kwargs: begun)
    trained = fit(chosen, tmp_path / "run")
    assert trained.spec.architecture == "resnet34"
    # Frozen for a fifth of the run: so for all of a run of one step, and for the first of two.
    frozen = fit(replace(chosen, steps=1), tmp_path / "frozen")
    assert torch.equal(frozen.state["encoder.conv1.weight"][:, :3], begun["conv1.weight"])
    assert not torch.equal(trained.state["encoder.conv1.weight"][:, :3], begun["conv1.weight"])
    # Without ImageNet's, there is nothing to wait for.
    fresh = replace(chosen, steps=1, encoder="none")
    untrained = RestorationModule(fresh, ModelSpec.resnet34(), Fabric(accelerator="cpu", devices=1))
    assert len(untrained.optimiser.param_groups) == 1


def test_an_encoder_that_cannot_be_fetched_says_what_to_do(config, tmp_path, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", no_network)
    with pytest.raises(RunError, match="--init"):
        fit(replace(config, architecture="resnet34", loss=LossWeights.of_pixels()), tmp_path / "run")


def test_crops_grow_and_their_number_keeps_the_area():
    seen = [crops_at(step, 9, (128, 256, 500), 16) for step in range(9)]
    assert [(crops.side_px, crops.count) for crops in seen[::3]] == [(128, 16), (256, 4), (500, 1)]
    assert seen[0] == seen[2]
    assert crops_at(8, 9, (112,), 16) == crops_at(0, 9, (112,), 16)


def test_sizes_that_shrink_are_refused(config):
    with pytest.raises(TrainingError, match="do not grow"):
        replace(config, sizes_px=(256, 128))


def test_crops_have_room_for_the_largest_scale_where_the_chips_do():
    assert source_px(112, 1.4, 500) == 157
    assert source_px(500, 1.4, 500) == 500


def test_a_resumed_sampler_goes_on_and_no_two_devices_see_the_same(config):
    chosen = replace(config, steps=6, batch=4, sizes_px=(64, 128), devices=2)
    sources = {64: 90, 128: 128}
    ranks = [list(StepSampler(chosen, sources, done=0, rank=rank)) for rank in (0, 1)]
    assert [len(items) for items in ranks[0]] == [4, 4, 4, 1, 1, 1]
    assert [items[0].side_px for items in ranks[0]] == [90, 90, 90, 128, 128, 128]
    numbers = [item.number for rank in ranks for items in rank for item in items]
    assert len(set(numbers)) == len(numbers)
    assert list(StepSampler(chosen, sources, done=2, rank=1)) == ranks[1][2:]


def test_an_item_is_a_function_of_its_number_and_the_seed(config):
    made = [CropDataset([], load_sharp(config.degrade), aged_share=1.0, seed=seed) for seed in (1, 1, 2)]
    third, fourth = Item(3, 64), Item(4, 64)
    assert torch.equal(made[0][third][0], made[1][third][0])
    assert not torch.equal(made[0][third][0], made[2][third][0])
    assert not torch.equal(made[0][third][0], made[0][fourth][0])


def test_nothing_to_train_on_and_small_pictures_are_refused(config, tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="nothing to train on"):
        CropDataset([], [], aged_share=0.5, seed=0)
    small = CropDataset([], [np.zeros((32, 32, 3), np.uint8)], aged_share=1, seed=0)
    with pytest.raises(DatasetError, match="smaller than the crop"):
        small[Item(0, 64)]
    with pytest.raises(DatasetError, match="choose smaller --sizes"):
        fit(replace(config, sizes_px=(256,), loss=LossWeights.of_pixels()), tmp_path / "large")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_sharp(["/nowhere/none.png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 256 * 256 // 2 - 1)
    with pytest.raises(DatasetError, match="gdal_translate -srcwin"):
        load_sharp(config.degrade)
