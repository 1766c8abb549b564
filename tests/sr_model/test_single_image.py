import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_models import compact_state

from sr_model import ModelSpec, PhotoContext, Restorer, RuntimeUnavailableError, WeightsError, save_weights
from sr_model.network import build
from sr_model.single_image import reduction_kernel, single_image

SPEC = ModelSpec(
    name="others",
    architecture="single_image",
    ratio=2,
    ratio_range=(1.41, 2.83),
    max_ratio=3.6,
    colours="photo",
    stride=8,
    halo_px=48,
    config={"scale": 2, "part_px": 512, "context_px": 8, "step_px": 1},
    mean=(0, 0, 0),
    std=(1, 1, 1),
)


def spec(ratio, scale, **sizes):
    changes = {"ratio": ratio, "ratio_range": (0.7 * ratio, 1.42 * ratio), "max_ratio": 2 * ratio}
    return replace(SPEC, **changes, config={**SPEC.config, "scale": scale, **sizes})


def noise(side, seed=1):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("ratio", "scale"), [(2, 2), (2, 4), (4, 4), (2, 8)])
@pytest.mark.parametrize("centre", [(47.0, 48.0), (50.3, 45.9)])
def test_a_spot_stays_where_it_is(ratio, scale, centre):
    """A half pixel of the model's would be a whole one of the output's, or two."""
    network = single_image(spec(ratio, scale), compact_state(scale, strength=0.0))
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    spot = torch.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / (2 * 5.0**2))
    with torch.inference_mode():
        drawn = network(spot.expand(1, 3, -1, -1).contiguous())[0]
    for band in drawn:
        found = [float((places * band).sum() / band.sum()) for places in (rows, columns)]
        assert found == pytest.approx(centre, abs=0.05)


@pytest.mark.parametrize(("ratio", "scale"), [(2, 2), (2, 4), (4, 4)])
def test_a_ramp_is_not_moved(ratio, scale):
    network = single_image(spec(ratio, scale), compact_state(scale, strength=0.0))
    slope = 1 / 128
    ramp = (torch.arange(128.0) * slope).expand(1, 3, 128, 128).contiguous()
    with torch.inference_mode():
        for x in (ramp, ramp.mT.contiguous()):
            moved = network.correction(x)[..., 32:-32, 32:-32].mean() / slope
            assert abs(float(moved)) < 0.05


def test_the_reduction_keeps_the_ground_in_place_and_its_brightness():
    for ratio in (2, 4):
        kernel = reduction_kernel(ratio)
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
        assert torch.equal(kernel, kernel.flip(0))


@pytest.mark.parametrize("part_px", [16, 40])
def test_parts_give_what_a_whole_window_gives(part_px):
    state, x = compact_state(), noise(128)
    with torch.inference_mode():
        whole = single_image(spec(2, 2), state).correction(x)
        parts = single_image(spec(2, 2, part_px=part_px), state).correction(x)
    assert whole.abs().mean() > 0.01
    assert (whole - parts).abs().max() < 1e-5


def test_no_part_is_larger_than_the_spec_says():
    network = single_image(spec(2, 2, part_px=24), compact_state())
    seen = []
    network.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    with torch.inference_mode():
        network.correction(noise(256))
    assert len(seen) == 36
    assert max(max(shape) for shape in seen) <= 24 + 2 * 8


def test_the_trim_leaves_out_context_only():
    network = single_image(spec(2, 2), compact_state())
    x = noise(160)
    with torch.inference_mode():
        assert (network.correction(x, 32) - network.correction(x)[..., 32:-32, 32:-32]).abs().max() < 1e-5


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / "w.safetensors"
    return save_weights(path, SPEC, compact_state(strength=0.3), dtype=torch.float32)


def test_it_runs_on_torch_and_its_library_is_part_of_what_tiles_depend_on(weights):
    import spandrel

    assert (
        Restorer.from_weights(weights, device="cpu").runtime
        == f"torch cpu fp32 spandrel {spandrel.__version__}"
    )
    with pytest.raises(RuntimeUnavailableError, match="--runtime torch"):
        Restorer.from_weights(weights, runtime="openvino")


def test_colours_stay_the_photographs(weights):
    random = np.random.default_rng(5)
    coarse = random.integers(60, 200, (1, 12, 12, 3)).astype(np.uint8)
    rgb = coarse.repeat(16, 1).repeat(16, 2)
    restorer = Restorer.from_weights(weights, device="cpu")
    restored = restorer.restore(rgb, PhotoContext(2.0))
    assert (restored != rgb).mean() > 0.2
    inner = np.s_[0, 48:-48, 48:-48]
    assert np.abs(restored[inner].mean((0, 1)) - rgb[inner].mean((0, 1))).max() < 1
    grey = restorer.restore(np.repeat(rgb[..., :1], 3, 3), PhotoContext(2.0, grey=True))
    assert (grey[..., :1] == grey).all()


def test_what_lies_beyond_the_halo_changes_nothing(weights):
    halo = SPEC.halo_px
    rgb = np.random.default_rng(6).integers(0, 256, (1, 192, 192, 3)).astype(np.uint8)
    other = 255 - rgb
    other[:, 24:-24, 24:-24] = rgb[:, 24:-24, 24:-24]
    restorer = Restorer.from_weights(weights, device="cpu")
    core = np.s_[:, 24 + halo : -24 - halo, 24 + halo : -24 - halo]
    difference = restorer.restore(rgb)[core].astype(int) - restorer.restore(other)[core]
    assert np.abs(difference).mean() < 0.1


def test_a_spec_that_does_not_fit_the_tensors_is_refused(weights):
    with pytest.raises(WeightsError, match="enlarges 2 times: import it again"):
        single_image(spec(2, 4), weights.state)
    damaged = {name: value for name, value in weights.arrays.items() if name != "body.3.weight"}
    with pytest.raises(WeightsError, match="do not fit together"):
        replace(weights, arrays=damaged).network()
    with pytest.raises(WeightsError, match="cannot be trained here"):
        build(SPEC)


def test_without_the_library_the_way_out_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'orthosharp\[training\]'"):
        weights.network()


def test_other_weights_do_not_load_the_library():
    program = (
        "import sys; from sr_model import Restorer; Restorer.open(runtime='torch', device='cpu');"
        "sys.exit('spandrel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
