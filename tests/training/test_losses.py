from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg16
from training_data import write_vgg

from training.errors import TrainingError
from training.fit import losses


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    return write_vgg(tmp_path_factory.mktemp("vgg") / "vgg.safetensors")


def test_vgg_gives_one_map_per_tap_and_stays_frozen(vgg_file):
    vgg = losses.VggFeatures(vgg_file, taps=4).train()
    assert not vgg.training
    assert not any(p.requires_grad for p in vgg.parameters())
    maps = vgg(torch.rand(1, 3, 64, 48))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 48), (128, 32, 24), (256, 16, 12), (512, 8, 6)]


def test_vgg_weights_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        losses.VggFeatures(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights at all")
    with pytest.raises(TrainingError, match="cannot be read"):
        losses.VggFeatures(damaged)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(TrainingError, match="lack"):
        losses.VggFeatures(tmp_path / "part.safetensors")


def test_vgg_weights_of_another_network_are_refused(tmp_path):
    state = {f"features.{key}": value for key, value in vgg16(weights=None).features[:4].state_dict().items()}
    state["features.2.weight"] = torch.zeros(64)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="without batch normalisation"):
        losses.VggFeatures(tmp_path / "other.safetensors", taps=1)


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch):
    from torchvision.models import VGG16_Weights

    def no_network(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", no_network)
    with pytest.raises(TrainingError, match="--perceptual PATH"):
        losses.VggFeatures("imagenet", taps=1)


def test_imagenet_weights_come_through_torchvision(monkeypatch):
    from torchvision.models import VGG16_Weights

    state = vgg16(weights=None).state_dict()
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda *_args, **_kwargs: state)
    vgg = losses.VggFeatures("imagenet", taps=1)
    assert torch.equal(vgg.layers[2].weight, state["features.2.weight"])


def test_the_gram_matrix_is_the_published_one():
    features = torch.randn(2, 3, 4, 5)
    flat = features.reshape(2, 3, 20)
    assert torch.allclose(losses.gram(features), torch.einsum("bik,bjk->bij", flat, flat) / 60)


def test_structure_is_blind_to_colour_and_contrast_and_sees_changes():
    torch.manual_seed(1)
    old = torch.rand(2, 3, 64, 64)
    assert float(losses.structure_loss(0.5 * old + 0.2, old)) < 1e-5
    assert float(losses.structure_loss(torch.rand(2, 3, 64, 64), old)) > 0.5
    assert torch.isfinite(losses.structure_loss(old, 0 * old))


def test_the_discriminator_learns_what_the_generator_is_told():
    torch.manual_seed(0)
    judge = losses.Discriminator([4])
    picture, old, features = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), [torch.rand(1, 4, 8, 8)]
    logits = judge(picture, old, features)
    assert [tuple(x.shape) for x in logits] == [(1, 1, 8, 8), (1, 1, 8, 8)]
    right = losses.discriminator_loss([torch.full((1,), 2.0)], [torch.full((1,), -2.0)])
    wrong = losses.discriminator_loss([torch.full((1,), -2.0)], [torch.full((1,), 2.0)])
    assert float(right) == 0
    assert float(wrong) == 6
    assert float(losses.generator_loss([torch.ones(1), torch.ones(1)], (0.5, 0.25))) == -0.75


def at_two_phases(network):
    old, phase = torch.rand(2, 3, 96, 96), (3, 5)
    return losses.same_ground(network(old), network(old.roll(phase, (-2, -1))), phase, margin_px=16)


def test_what_does_not_depend_on_the_grid_is_the_same_ground():
    here, there = at_two_phases(lambda x: x * 0.5)
    assert here.shape == there.shape == (2, 3, 61, 59)
    assert torch.equal(here, there)
    assert float(losses.grid_loss(here, there)) == 0


@pytest.mark.parametrize("period", [2, 4, 8])
def test_the_grid_loss_sees_a_pattern_that_the_content_modulates(period):
    grid = torch.zeros(96, 96)
    grid[::period, ::period] = 0.2
    drawn = float(losses.grid_loss(*at_two_phases(lambda x: x + grid * (x - 0.5).sign())))
    assert drawn > 10 * float(losses.grid_loss(*at_two_phases(lambda x: x + 0.02 * grid)))


def test_coloured_rims_count_and_grey_detail_does_not():
    old = torch.full((1, 3, 64, 64), 0.5)
    old[..., 20:40, 20:40] = 0.9
    grey, rim = old.clone(), old.clone()
    grey[..., 20:40, 20:40] = 1.0
    rim[:, 0, 19, 19:41] += 0.2
    assert float(losses.fringe_loss(grey, old)) == 0
    assert float(losses.fringe_loss(rim, old)) > 0


def test_spectrum_loss_sees_detail_and_not_where_it_lies():
    torch.manual_seed(0)
    new = torch.rand(2, 3, 64, 64)
    moved = float(losses.spectrum_loss(new.roll((5, 9), (-2, -1)), new))
    soft = torch.nn.functional.avg_pool2d(new, 3, 1, 1, count_include_pad=False)
    assert moved < 0.2 < float(losses.spectrum_loss(soft, new))
    assert torch.isfinite(losses.spectrum_loss(new * 0, new))


def test_texture_on_a_flat_field_does_not_count_as_lost_structure():
    torch.manual_seed(0)
    flat = torch.full((2, 3, 64, 64), 0.5) + torch.randn(2, 1, 1, 1) * 0.1
    textured = flat + 0.02 * torch.randn(2, 3, 64, 64)
    assert float(losses.structure_loss(textured, flat)) < 0.1


@pytest.mark.parametrize("loss", [losses.feature_loss, losses.gram_loss])
def test_features_of_no_weight_ask_for_nothing(loss):
    first, second = torch.rand(2, 1, 4, 8, 8)
    assert loss([first], [second], (1.0,)) > 0
    assert loss([first], [second], (0.0,)) == 0
