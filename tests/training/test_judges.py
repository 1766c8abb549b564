"""Judges on made pictures whose faults are known; each stays put for the picture without the fault."""

import numpy as np
import pytest
import torch
from made_roofs import photographed, roofs
from safetensors.torch import load_file, save_file
from scipy.ndimage import gaussian_filter
from training_data import write_vgg

from training.errors import TrainingError
from training.measure.colour_artefacts import blotches, neutral_cast, saturation, tinted_rims
from training.measure.colour_map import block_colours, fit_colour_map, matched_psnr
from training.measure.edge_quality import edge_quality
from training.measure.feature_distance import EfficientNetJudge, Vgg16Judge, open_judge
from training.measure.judges import JudgedWindow, judge_window
from training.measure.weave import weave

SIDE = 256


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(np.float32)


def grain(strength: float, seed: int, sigma: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    smooth = gaussian_filter(noise, sigma) if sigma else noise
    return (strength * smooth / smooth.std())[..., None]


def town(blur: float = 0.7, amount: float = 0.0, radius: float = 1.5, seed: int = 1) -> np.ndarray:
    return grey(photographed(roofs(seed, blur, size=SIDE), amount=amount, radius_px=radius, seed=seed))


def coloured(seed: int = 1) -> np.ndarray:
    """Roofs, some of them reddish or greenish, some white and nearly neutral."""
    levels = photographed(roofs(seed, 0.7, size=SIDE, whites=True), grain=0.5)
    red, green = (photographed(roofs(seed + n, 0.7, size=SIDE), grain=0) - 110 for n in (1, 2))
    tint = red[..., None] * (0.25, 0.0, -0.2) + green[..., None] * (-0.1, 0.15, 0.1)
    share = np.where(levels < 150, 1.0, 0.1)
    return np.clip(levels[..., None] + share[..., None] * tint, 0, 255)


def recoloured(picture: np.ndarray) -> np.ndarray:
    """What a judge of faults allows: another haze, contrast and cast for the picture as a whole."""
    return picture * (1.15, 1.0, 0.85) + (4, -6, 10)


def test_rise_follows_a_ramp_of_blur_and_grain_cancels():
    sharp = town()
    rises = [edge_quality([(town(blur), sharp)]) for blur in (0.7, 1.0, 1.4, 2.0)]
    assert all(found.edges > 20 for found in rises)
    for blur, found in zip((0.7, 1.0, 1.4, 2.0), rises, strict=True):
        assert found.rise_px == pytest.approx(2.563 * np.hypot(blur, 0.35), rel=0.12)
    grainy = edge_quality([(sharp + grain(5, 3), sharp)])
    assert grainy.rise_px == pytest.approx(rises[0].rise_px, abs=0.2)
    assert grainy.overshoot < 0.1


@pytest.mark.parametrize(
    ("amount", "least", "most"), [(0.0, 0.0, 0.04), (0.5, 0.05, 0.12), (1.5, 0.18, 0.30)]
)
def test_overshoot_is_that_of_a_known_mask(amount, least, most):
    sharp = town()
    assert least <= edge_quality([(town(0.7, amount), sharp)]).overshoot <= most


def test_edges_are_those_of_the_reference():
    flat = np.full((SIDE, SIDE, 3), 100, np.uint8)
    assert edge_quality([(town(), flat)]).edges == 0
    nothing = edge_quality([(flat, town())])
    assert nothing.edges == 0
    assert np.isnan(nothing.rise_px)
    both = edge_quality([(town(), town()), (town(seed=2), town(seed=2))])
    assert both.edges == sum(edge_quality([(town(seed=s), town(seed=s))]).edges for s in (1, 2))


def test_planted_rims_are_seen_and_a_new_cast_is_not():
    old = coloured()
    assert tinted_rims(old, old) == pytest.approx(0, abs=0.01)
    assert tinted_rims(recoloured(old), old) == pytest.approx(0, abs=0.3)
    edge = gaussian_filter(old.mean(2), 0.8) - gaussian_filter(old.mean(2), 1.6)
    rim = 12.0 * np.clip(edge / 8, 0, 1)[..., None] * (1.0, 0.0, -1.0)
    assert tinted_rims(old + rim, old) > 1.0
    assert tinted_rims(recoloured(old) + rim, old) > 1.0
    assert blotches(old + rim, old) < 1.5


def test_planted_blotches_are_seen_and_a_new_cast_is_not():
    old = coloured()
    assert blotches(old, old) == pytest.approx(0, abs=0.01)
    assert blotches(recoloured(old), old) == pytest.approx(0, abs=0.05)
    stain = grain(6, 5, sigma=12) * (1.0, -0.5, 0.5)
    found = blotches(recoloured(old) + stain, old)
    assert found == pytest.approx(6 * np.sqrt((1 + 0.25 + 0.25) / 3), rel=0.25)
    assert tinted_rims(old + stain, old) == pytest.approx(0, abs=0.6)


def test_a_planted_cast_on_white_roofs_is_seen():
    old = coloured()
    white = (saturation(old) < 9) & (old.mean(2) > 170)
    assert white.sum() > 1000
    assert neutral_cast(old, old) == 0
    orange = old + white[..., None] * np.array((12.0, 0.0, -12.0))
    assert neutral_cast(orange, old) == pytest.approx(12 * np.sqrt(1.76 + 0.55), rel=0.3)
    paler = old.mean(2, keepdims=True) + 0.5 * (old - old.mean(2, keepdims=True))
    assert neutral_cast(paler, old) < 0


def test_a_photo_without_bright_neutral_ground_tells_no_cast():
    assert neutral_cast(grey(np.full((SIDE, SIDE), 90.0)), grey(np.full((SIDE, SIDE), 90.0))) is None


def test_a_planted_weave_is_seen_and_airbrushing_too():
    ground = town(1.0)
    old, new = ground + grain(1.0, 1), ground + grain(2.0, 2)
    natural = weave(ground + grain(2.0, 3), old, new)
    assert weave(new, old, new) == pytest.approx(1, abs=0.001)
    assert natural == pytest.approx(1, abs=0.15)
    grid = 6.0 * (np.indices((SIDE, SIDE)).sum(0) % 2)[..., None] - 3.0
    assert weave(ground + grain(2.0, 3) + grid, old, new) > 1.4
    assert weave(ground, old, new) < 0.75
    # A map of colours is not a weave: detail counts relative to contrast.
    assert weave(0.6 * (ground + grain(2.0, 3)) + 30, old, new) == pytest.approx(natural, abs=0.05)


def test_rough_ground_tells_no_weave():
    rough = town() + grain(40, 4, sigma=2)
    assert weave(rough, rough, rough) is None


def test_psnr_does_not_see_one_map_of_colours():
    # Bands that are alike would let the map average their noise away.
    truth = np.stack([photographed(roofs(n, 0.7, size=SIDE)) for n in (1, 2, 3)], axis=2)
    assert matched_psnr(recoloured(truth), truth) > 60
    noisy = truth + np.random.default_rng(0).normal(0, 5, truth.shape)
    plain = 10 * np.log10(255**2 / 25)
    assert matched_psnr(noisy, truth) == pytest.approx(plain, abs=0.5)
    assert matched_psnr(recoloured(noisy), truth) == pytest.approx(plain, abs=0.5)
    assert matched_psnr(truth.astype(np.uint8), truth.astype(np.uint8)) > 60


def test_the_colour_map_is_the_one_that_was_applied():
    picture = coloured()
    found = fit_colour_map(picture, recoloured(picture))
    assert found[:3] == pytest.approx(np.diag((1.15, 1.0, 0.85)), abs=1e-3)
    assert found[3] == pytest.approx((4, -6, 10), abs=0.05)
    assert block_colours(picture[:30, :17], 8).shape == (3, 2, 3)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    return write_vgg(tmp_path_factory.mktemp("vgg") / "vgg.safetensors")


@pytest.mark.parametrize("network", ["efficientnet-lite0", "vgg16"])
def test_feature_distance_follows_blur_and_not_colours(network, vgg):
    judge = EfficientNetJudge() if network == "efficientnet-lite0" else Vgg16Judge(vgg)
    assert judge.name == network
    truth, *blurred = (town(blur)[:128, :128] for blur in (0.6, 0.9, 1.3, 2.0))
    distances = [judge.distance(picture, truth) for picture in blurred]
    assert judge.distance(truth, truth) == pytest.approx(0, abs=1e-6)
    assert distances == sorted(distances)
    assert distances[0] > 1e-3
    # Clipping spoils a few pixels.
    assert judge.distance(recoloured(blurred[1]), truth) == pytest.approx(distances[1], rel=0.05)


def test_the_judge_is_never_the_network_of_the_loss(vgg):
    assert open_judge([]).name == "efficientnet-lite0"
    assert open_judge(["vgg16"], vgg).name == "efficientnet-lite0"
    assert open_judge([], vgg).name == "vgg16"
    assert open_judge(["efficientnet-lite0"], vgg).name == "vgg16"
    with pytest.raises(TrainingError, match="name a safetensors file"):
        open_judge(["efficientnet-lite0"])
    with pytest.raises(TrainingError, match="third"):
        open_judge(["efficientnet-lite0", "vgg16"], vgg)


def test_weights_that_are_not_those_of_vgg16_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(TrainingError, match="cannot be read"):
        Vgg16Judge(path)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(TrainingError, match=r"features\.0\.bias"):
        Vgg16Judge(path)


def test_vgg_features_are_those_before_the_pools(vgg):
    """The first tap, computed by hand from the file."""
    state = {key: value.float() for key, value in load_file(vgg).items()}
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x = (rgb - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    for index in (0, 2):
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        x = torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1))
    found = Vgg16Judge(vgg).features(rgb)
    assert [f.shape[-1] for f in found] == [32, 16, 8, 4]
    torch.testing.assert_close(found[0], x)


def test_all_judges_together():
    old, truth = coloured(), coloured()
    old = gaussian_filter(old, (1.2, 1.2, 0))
    window = JudgedWindow(truth, old, truth, old)
    judged = judge_window(window)
    assert set(judged) == {"rise", "overshoot", "rims", "blotches", "cast", "weave"}
    assert np.median(judged["rise"]) < np.median(judge_window(JudgedWindow(old, old, truth, old))["rise"])
    exact = judge_window(window, is_truth=True, features=EfficientNetJudge())
    assert exact["features"] == pytest.approx([0], abs=1e-5)
    assert exact["psnr"] > 60
