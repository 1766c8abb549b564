"""The network as an ONNX file for other programs, checked against torch before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from scipy.ndimage import gaussian_filter

from sr_model.atomic import write_atomic
from sr_model.onnx_model import to_onnx
from sr_model.pixels import Float32Array, normalise
from sr_model.weights import Weights
from training.errors import RunError

# One grey level, the smallest step of the picture that leaves.
_LARGEST_DIFFERENCE: Final = 1 / 255
_WINDOWS: Final = 4


def write_onnx(path: Path, weights: Weights) -> float:
    """Write an ONNX model with the spec and the digest among its properties.

    Args:
        path: an `.onnx` file; an existing one is replaced.
        weights: the network. Input and output are normalised as its spec says.

    Returns:
        The largest difference from torch that was found, as a share of the range from black to white.

    Raises:
        RunError: it is a grey level or more; nothing is written.
    """
    model = onnx.load_model_from_string(to_onnx(weights))
    spec = weights.spec
    properties = {
        "orthosharp_spec": spec.to_json(),
        "orthosharp_digest": weights.digest,
        "licence": spec.licence,
        "credit": spec.credit,
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    difference = onnx_difference(data, weights)
    if difference >= _LARGEST_DIFFERENCE:
        raise RunError(
            f"the ONNX model differs from torch by {255 * difference:.2f} grey levels: export without --onnx, "
            f"and report it with the versions of onnx ({onnx.__version__}) and torch ({torch.__version__})"
        )
    write_atomic(path, data)
    return difference


def onnx_difference(model: bytes, weights: Weights, *, seed: int = 0) -> float:
    """Return the largest difference between an ONNX model and torch on random windows, inside their halo.

    Args:
        model: a serialised ONNX model with `input` and `output`.
        weights: the weights that torch runs.
        seed: seed of the windows, which differ in size, softness and contrast.

    Returns:
        A share of the range from black to white.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    network = weights.network()
    random = np.random.default_rng(seed)
    # Only pixels with enough context are compared: at a window's border both see the padding, each its own.
    inner = slice(weights.spec.halo_px, -weights.spec.halo_px or None)
    deviations = np.asarray(weights.spec.std, np.float32)[:, None, None]
    largest = 0.0
    for _ in range(_WINDOWS):
        planes = _random_window(weights, random)
        (theirs,) = session.run(["output"], {"input": planes})
        with torch.inference_mode():
            ours = network(torch.from_numpy(planes)).numpy()
        difference = np.abs(theirs - ours)[..., inner, inner] * deviations
        # NaN is larger than any limit.
        largest = max(largest, float(np.nan_to_num(difference, nan=np.inf).max()))
    return largest


def _random_window(weights: Weights, random: np.random.Generator) -> Float32Array:
    """Normalised noise, float32 [1, planes, H, W]."""
    stride = weights.spec.stride
    height, width = 2 * weights.spec.halo_px + stride * random.integers(1, 5, 2)
    noise = gaussian_filter(random.normal(0, 1, (height, width, 3)), (*random.uniform(0, 4, 2), 0))
    contrast = random.uniform(10, 80) / noise.std()
    rgb = np.clip(128 + contrast * noise, 0, 255).astype(np.uint8)
    return normalise(rgb[None], weights.spec)
