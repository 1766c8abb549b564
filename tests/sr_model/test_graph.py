"""The networks in OpenVINO's and ONNX's graphs compute what torch computes."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from sr_model import ModelSpec, Restorer, Weights, WeightsError
from sr_model.graph import openvino_correction
from sr_model.network import build
from sr_model.network_layers import fold_shuffles
from sr_model.onnx_model import to_onnx

SPECS = {
    "compact": ModelSpec.compact(width=8, blocks=1),
    "half_scale": ModelSpec.half_scale(widths=(16, 16, 24)),
    "resnet34": ModelSpec.resnet34(),
}
# ResNet-34 is large: its tests take minutes.
NETWORKS = [pytest.param(name, marks=pytest.mark.slow) if name == "resnet34" else name for name in SPECS]


@pytest.fixture(scope="module", params=NETWORKS)
def weights(request) -> Weights:
    """Of an untrained network whose every layer does something: biases and statistics too."""
    torch.manual_seed(4)
    spec = SPECS[request.param]
    state = build(spec).state_dict()
    for name, value in state.items():
        if name.endswith(("bias", "running_mean")):
            torch.nn.init.normal_(value, std=0.1)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(value, 1.0, 3.0)
        elif name.endswith(("bn2.weight", "downsample.1.weight")):
            value.mul_(0.4)  # untrained residuals amplify
    return Weights(spec, {name: value.numpy() for name, value in state.items()}, "")


def planes(weights: Weights, batch: int, height: int, width: int) -> np.ndarray:
    stride = weights.spec.stride
    shape = batch, weights.spec.planes, height * stride, width * stride
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("strides", [0, 1, 3])
def test_openvino(weights, strides):
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    trim = strides * weights.spec.stride
    model = openvino_correction(weights, trim, openvino)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    for batch, height, width in ((1, 8, 7), (2, 7, 9)):
        x = planes(weights, batch, height, width)
        with torch.inference_mode():
            wanted = fold_shuffles(weights.network()).correction(torch.from_numpy(x), trim).numpy()
        made = request.infer({"input": x})["output"]
        assert wanted.std() > 0.01
        assert np.abs(made - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_onnx(weights):
    import onnxruntime

    data = to_onnx(weights)
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = planes(weights, 2, 8, 7)
    with torch.inference_mode():
        wanted = fold_shuffles(weights.network())(torch.from_numpy(x)).numpy()
    (made,) = session.run(["output"], {"input": x})
    assert np.abs(made - x[:, :3]).mean() > 0.01
    assert np.abs(made - wanted).max() < 1e-4


@pytest.mark.parametrize("change", ["missing", "reshaped", "left over"])
def test_tensors_of_another_network_are_refused(weights, change):
    """As torch refuses them, and before OpenVINO sees them."""
    arrays = dict(weights.arrays)
    name = next(name for name in arrays if name.endswith("weight"))
    if change == "left over":
        arrays["more"] = arrays[name]
    else:
        array = arrays.pop(name)
        if change == "reshaped":
            arrays[name] = array[:-1]
    wrong = replace(weights, arrays=arrays)
    for runtime in ("openvino", "torch"):
        with pytest.raises(WeightsError, match="do not fit"):
            Restorer.from_weights(wrong, runtime=runtime, device="cpu")


@pytest.mark.parametrize(
    ("change", "words"), [({"architecture": "vit"}, "unknown architecture"), ({"stride": 1}, "has stride")]
)
def test_specs_of_no_network_are_refused(weights, change, words):
    wrong = replace(weights, spec=replace(weights.spec, **change))
    with pytest.raises(WeightsError, match=words):
        Restorer.from_weights(wrong, runtime="openvino", device="cpu")
