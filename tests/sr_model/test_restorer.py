import numpy as np
import pytest
import torch

from sr_model import InferenceError, InputError, ModelSpec, Restorer, RuntimeUnavailableError, save_weights
from sr_model.network import build
from sr_model.runtimes.torch_runtime import TorchRuntime
from sr_model.spec import ModelSpec as Spec


@pytest.fixture(scope="module", params=["compact", "resnet34"])
def weights(request, tmp_path_factory):
    torch.manual_seed(2)
    spec = ModelSpec.compact(width=8, blocks=1) if request.param == "compact" else ModelSpec.resnet34()
    return save_weights(tmp_path_factory.mktemp("w") / "w.safetensors", spec, build(spec).state_dict())


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def test_onnx_runtime_and_torch_agree(weights):
    rgb = noise(2, 96, 64, 3)
    onnx, torch_ = (
        Restorer.from_weights(weights, runtime=r, device="cpu").restore(rgb) for r in ("onnx", "torch")
    )
    assert onnx.shape == rgb.shape
    assert np.abs(onnx.astype(int) - torch_).max() <= 1


def test_every_size_of_window_and_batch_goes_through_one_session(weights):
    restorer = Restorer.from_weights(weights)
    stride = weights.spec.stride
    for batch, height, width in ((1, 1, 1), (3, 2, 1), (1, 4, 3)):
        rgb = noise(batch, height * stride, width * stride, 3)
        assert restorer.restore(rgb).shape == rgb.shape


def test_a_batch_gives_what_single_windows_give(weights):
    restorer = Restorer.from_weights(weights)
    rgb = noise(3, 64, 64, 3)
    single = np.concatenate([restorer.restore(window[None]) for window in rgb])
    assert np.abs(restorer.restore(rgb).astype(int) - single).max() <= 1


def test_auto_takes_onnx_runtime_where_there_is_no_gpu(weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Restorer.from_weights(weights).runtime == "onnxruntime cpu"


def test_a_missing_gpu_that_was_asked_for_is_an_error(weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeUnavailableError, match="--device cpu"):
        Restorer.from_weights(weights, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeUnavailableError, match="CPU only"):
        Restorer.from_weights(weights, runtime="onnx", device="cuda")


def test_wrong_input_is_refused(weights):
    with pytest.raises(InputError, match="multiples of"):
        Restorer.from_weights(weights).restore(noise(1, 33, 64, 3))


class _Failing:
    name = "failing"

    def __init__(self, outcome):
        self._outcome = outcome

    def forward(self, planes):
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return np.full_like(planes[:, :3], self._outcome)


def test_output_that_is_no_picture_is_an_error():
    restorer = Restorer(Spec.compact(width=8), "digest", _Failing(np.nan))
    with pytest.raises(InferenceError, match="not finite"):
        restorer.restore(noise(1, 16, 16, 3))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(weights, monkeypatch):
    runtime = TorchRuntime(weights, "cpu")
    seen = []
    real = runtime._run

    def small_memory(planes):
        seen.append(len(planes))
        if len(planes) > 1:
            raise torch.OutOfMemoryError
        return real(planes)

    monkeypatch.setattr(runtime, "_run", small_memory)
    planes = np.random.default_rng(0).normal(size=(5, weights.spec.planes, 64, 64)).astype(np.float32)
    result = runtime.forward(planes)
    assert seen[0] == 5
    assert np.allclose(result, np.concatenate([real(p[None]) for p in planes]), atol=1e-5)


def test_a_single_window_that_does_not_fit_says_so(weights, monkeypatch):
    runtime = TorchRuntime(weights, "cpu")

    def no_memory(_planes):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(runtime, "_run", no_memory)
    with pytest.raises(InferenceError, match="does not fit"):
        runtime.forward(np.zeros((1, weights.spec.planes, 64, 64), np.float32))
