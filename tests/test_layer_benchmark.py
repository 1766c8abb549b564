"""The benchmark of layers counts what the networks multiply."""

from __future__ import annotations

import openvino
import pytest

from benchmarks.layers import _convolutions, measure
from sr_model import bundled_weights_path, load_weights, multiplications_per_px
from sr_model.graph import openvino_correction
from sr_model.shipped import BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_multiplications_of_the_layers_are_those_of_the_network(name: str) -> None:
    weights = load_weights(bundled_weights_path(name))
    model = openvino_correction(weights, 0, openvino)
    counted = _convolutions(model, weights.spec.planes, 256)
    total = sum(multiplications for _, multiplications in counted.values())
    assert total / 256**2 == pytest.approx(multiplications_per_px(weights.spec))


def test_every_layer_has_a_time() -> None:
    weights = load_weights(bundled_weights_path("small"))
    layers, seconds = measure(weights, 256, 2)
    assert sum(layer.count for layer in layers) == 16
    assert layers[0].kind == "4 x 4, 3 to 16, at 1/2"
    # What a round adds by chance may make a small layer look free, but not all of them.
    assert sum(layer.seconds for layer in layers) == pytest.approx(seconds, rel=0.5)
    assert seconds > 0
