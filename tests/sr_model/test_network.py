import numpy as np
import pytest
import torch
from torchvision.models.resnet import BasicBlock

from sr_model import ModelSpec, WeightsError
from sr_model.network import build, multiplications_per_px
from sr_model.network_layers import ShuffleUp, fold_shuffles
from sr_model.spec import HALF_SCALE_SIZES

SPECS = {
    "compact": ModelSpec.compact(width=8, blocks=1),
    "half_scale": ModelSpec.half_scale(widths=(16, 16, 24), blocks=(1, 2, 1), decoder_blocks=(2, 1)),
    "resnet34": ModelSpec.resnet34(),
}
# ResNet-34 is large: its tests take minutes.
NETWORKS = [pytest.param(name, marks=pytest.mark.slow) if name == "resnet34" else name for name in SPECS]


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return build(SPECS[request.param]).eval(), SPECS[request.param]


def test_output_lies_on_the_inputs_grid(network):
    net, spec = network
    with torch.inference_mode():
        for height, width in ((spec.stride, 2 * spec.stride), (3 * spec.stride, spec.stride)):
            assert net(torch.zeros(2, spec.planes, height, width)).shape == (2, 3, height, width)


def test_a_shift_by_the_stride_shifts_the_output(network):
    """What makes seams impossible: the same pixel has the same value in two windows that both see its context."""
    net, spec = network
    for block in net.modules():
        if isinstance(block, BasicBlock):
            # Untrained residuals amplify: without this the border would reach the middle of any window.
            torch.nn.init.constant_(block.bn2.weight, 0.05)
    picture = torch.randn(1, spec.planes, 512, 512 + spec.stride)
    with torch.inference_mode():
        left, right = net(picture[..., :512]), net(picture[..., spec.stride :])
    middle = slice(240, 272)
    aligned = _difference(left, right, middle, spec.stride)
    # A shift that is not a multiple of the stride does change values.
    with torch.inference_mode():
        odd = _difference(left, net(picture[..., 3 : 512 + 3]), middle, 3)
    assert aligned < 0.05 * odd
    assert odd > 1e-3


def _difference(left, right, middle, shift):
    moved = slice(middle.start - shift, middle.stop - shift)
    return float((left[..., middle, middle] - right[..., middle, moved]).abs().mean())


def test_icnr_starts_without_a_checkerboard():
    torch.manual_seed(1)
    up = ShuffleUp(6, 4, kernel=3)
    expanded = up.expand(torch.randn(1, 6, 8, 8))
    for part in torch.split(expanded, 4, dim=1):
        assert torch.allclose(part, part[:, :1].expand_as(part), atol=1e-6)


def test_the_blur_has_a_zero_where_a_shuffle_would_draw_a_pattern():
    up = ShuffleUp(1, 1)
    with torch.no_grad():
        up.expand.weight.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1))
    stripes = up(torch.ones(1, 1, 16, 16))
    assert float(stripes.detach()[..., 1:, 1:].abs().max()) < 1e-6


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("strides", [0, 1, 2, 3])
def test_a_trimmed_result_is_the_middle_of_the_whole_one(network, strides, folded):
    """What is not computed has no part in what is."""
    net, spec = network
    if folded:
        fold_shuffles(net)
    with torch.no_grad():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)  # so that every pixel counts
    trim = strides * spec.stride
    x = torch.randn(1, spec.planes, 2 * trim + 2 * spec.stride, 2 * trim + 3 * spec.stride)
    with torch.inference_mode():
        whole, part = net.correction(x), net.correction(x, trim)
    assert part.shape == (1, 3, 2 * spec.stride, 3 * spec.stride)
    inner = whole[..., trim : trim + 2 * spec.stride, trim : trim + 3 * spec.stride]
    assert float(inner.std()) > 0
    assert torch.allclose(part, inner, rtol=1e-4, atol=1e-5 * float(inner.std()))


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_folded_shuffle_draws_the_same_picture(kernel):
    torch.manual_seed(3)
    up = ShuffleUp(6, 4, kernel)
    torch.nn.init.normal_(up.expand.weight)  # four different sub-pixels, as after training
    torch.nn.init.normal_(up.expand.bias)
    picture = torch.randn(2, 6, 9, 12)
    with torch.inference_mode():
        wanted, folded = up(picture), fold_shuffles(torch.nn.Sequential(up))(picture)
    assert folded.shape == wanted.shape
    # The first rows and columns see zeros in another order; the halo keeps them out of the picture.
    assert torch.allclose(folded[..., 4:, 4:], wanted[..., 4:, 4:], atol=1e-5)


def test_the_resnet_encoder_takes_torchvisions_weights(monkeypatch):
    """The real loading code, with a state of torchvision's own layout in place of the download."""
    from torchvision.models import ResNet34_Weights, resnet34

    torch.manual_seed(5)
    state = resnet34(weights=None).state_dict()
    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", lambda *_args, **_kwargs: state)
    net = build(SPECS["resnet34"])
    net.load_imagenet()
    assert torch.equal(net.encoder.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])
    assert torch.equal(net.encoder.conv1.weight[:, :3], state["conv1.weight"])
    assert not net.encoder.conv1.weight[:, 3:].any()


def test_the_compact_network_has_at_most_three_million_parameters():
    assert sum(p.numel() for p in build(ModelSpec.compact()).parameters()) <= 3_000_000


def test_an_untrained_network_returns_nearly_its_input(network):
    net, spec = network
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, spec.planes, 64, 64)).astype(np.float32))
    with torch.inference_mode():
        assert float((net(x) - x[:, :3]).abs().mean()) < 0.5


def test_multiplications_are_those_of_the_convolutions():
    """By hand, layer by layer: outputs x inputs x kernel over the pixels of output that one value stands for."""
    half = 3 * 32 * 16 + 2 * 32 * 32 * 9 + 2 * 32 * 32 * 9 + 32 * 12 * 9  # fold, encoder, decoder, head
    quarter = 32 * 48 * 9 + 2 * 48 * 48 * 9 + 2 * 48 * 48 * 9 + 48 * 128  # down, encoder, decoder, up
    eighth = 48 * 64 * 9 + 4 * 64 * 64 * 9 + 64 * 192
    assert multiplications_per_px(ModelSpec.half_scale()) == half / 4 + quarter / 16 + eighth / 64
    assert [
        round(multiplications_per_px(ModelSpec.half_scale(**size)), -3) for size in HALF_SCALE_SIZES.values()
    ] == [
        7000,
        20000,
        77000,
    ]
    assert multiplications_per_px(ModelSpec.compact()) == 19600


def test_the_half_scale_network_is_built_as_its_config_says():
    spec = ModelSpec.half_scale(widths=(16, 24, 40), blocks=(0, 2, 3), decoder_blocks=(2, 0))
    net = build(spec)
    assert [len(part) for part in (net.encode2, net.encode4, net.encode8, net.decode2, net.decode4)] == [
        0,
        2,
        3,
        2,
        0,
    ]
    assert [net.fold.out_channels, net.down4.out_channels, net.down8.out_channels] == [16, 24, 40]
    with pytest.raises(WeightsError, match="3 widths"):
        build(ModelSpec.half_scale(widths=(16, 24)))
