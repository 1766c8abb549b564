"""What only a GPU can show; left out where there is none."""

import numpy as np
import pytest
import torch

from sr_model import ModelSpec, Restorer, load_weights, pixels, save_weights, tensors
from sr_model.network import build
from sr_model.photo import PhotoContext
from sr_model.runtimes import choose_runtime

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module", params=["compact", "half_scale", "resnet34"])
def weights(request, tmp_path_factory):
    torch.manual_seed(11)
    spec = getattr(ModelSpec, request.param)()
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(path, spec, build(spec).state_dict())
    return load_weights(path)


def windows(count, side_px=256):
    return np.random.default_rng(count).integers(0, 256, (count, side_px, side_px, 3), np.uint8)


def restored_by(runtime, rgb):
    return runtime.restore(rgb, [PhotoContext()] * len(rgb))


def assert_nearly_equal(one, other):
    """Another batch may take another kernel, which rounds half precision otherwise, invisibly."""
    difference = np.abs(one.astype(int) - other)
    assert difference.mean() < 0.1
    assert difference.max() <= 2


def test_auto_takes_the_gpu_and_it_paints_what_the_cpu_paints(weights):
    gpu = Restorer.from_weights(weights)
    assert gpu.runtime == "torch cuda fp16"
    rgb = windows(3)
    difference = np.abs(
        gpu.restore(rgb).astype(int) - Restorer.from_weights(weights, device="cpu").restore(rgb)
    )
    assert difference.mean() < 0.1
    assert difference.max() <= 2


def test_grain_is_the_same_to_the_last_bit():
    rgb = windows(2)
    on_gpu = tensors.grain_plane(torch.from_numpy(rgb).cuda()).cpu().numpy()
    assert (on_gpu == pixels.grain_plane(rgb)).all()


def test_a_window_has_the_same_bytes_alone_and_among_others(weights):
    runtime = choose_runtime(weights, device="cuda")
    rgb = windows(4)
    together = restored_by(runtime, rgb)
    alone = np.concatenate([restored_by(runtime, one[None]) for one in rgb])
    assert_nearly_equal(together, alone)


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_stay_small(weights):
    torch.cuda.empty_cache()
    runtime = choose_runtime(weights, device="cuda")
    rgb = windows(8, 1024)
    wanted = restored_by(runtime, rgb[:1])
    torch.cuda.reset_peak_memory_stats()
    restored_by(runtime, rgb[:2])
    two = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    before = runtime.batch
    try:
        torch.cuda.set_per_process_memory_fraction(two * 1.3 / total)
        restored = restored_by(runtime, rgb)
        assert runtime.batch < before
        torch.cuda.reset_peak_memory_stats()
        assert len(restored_by(runtime, rgb)) == 8
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert_nearly_equal(restored[:1], wanted)
