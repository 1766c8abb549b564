"""Networks in integers of 8 bits make the same pictures to the eye, and are chosen where they are faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_roofs import photographed, roofs

from sr_model import ModelSpec, Restorer, Weights, bundled_weights_path, load_weights
from sr_model.eight_bits import made_pictures, rounded_range
from sr_model.machine import multiplies_bytes_faster
from sr_model.network import build
from sr_model.runtimes import openvino_runtime
from sr_model.shipped import BUNDLED

HALO_PX = 56


def town(seed: int) -> np.ndarray:
    """Roofs in colours, uint8 [1, 400, 400, 3]."""
    grey = photographed(roofs(seed, 0.8, size=400), amount=0.5, radius_px=1.2)
    rgb = grey[..., None] * np.array([1.0, 0.9, 0.8]) + np.array([0, 10, 20])
    return np.clip(rgb, 0, 255).astype(np.uint8)[None]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_make_the_same_pictures(name: str) -> None:
    path = bundled_weights_path(name)
    window = town(3)
    exact = Restorer.open(path, runtime="openvino", trim_px=HALO_PX).restore(window)
    restorer = Restorer.open(path, runtime="openvino-int8", trim_px=HALO_PX)
    assert restorer.runtime == "openvino cpu int8"
    difference = np.abs(restorer.restore(window).astype(int) - exact)
    changed = np.abs(exact.astype(int) - window[:, HALO_PX:-HALO_PX, HALO_PX:-HALO_PX])
    assert difference.max() > 0
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99.9) <= 4
    assert difference.mean() < changed.mean() / 4


def test_other_windows_make_the_same_pixels_where_they_overlap() -> None:
    restorer = Restorer.open(runtime="openvino-int8", trim_px=HALO_PX)
    window = town(5)
    whole = restorer.restore(window)
    moved = restorer.restore(np.ascontiguousarray(window[:, 64:, 32:]))
    difference = np.abs(whole[:, 64:, 32:].astype(int) - moved)
    # Where the context ends, a value may fall on the other side of a step.
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.03
    assert (difference[:, 24:, 24:] > 0).mean() < 1e-3


def test_ranges_hold_zero_exactly_and_are_rounded_up() -> None:
    for low, high in [(0.0, 3.01), (-1.3, 2.2), (-0.01, 0.0), (0.0, 0.0)]:
        found_low, found_high = rounded_range(low, high)
        step = (found_high - found_low) / 255
        assert found_low / step == pytest.approx(round(found_low / step), abs=1e-9)
        assert found_high >= high - step
        assert found_low <= low
    np.testing.assert_array_equal(made_pictures(), made_pictures())


def test_networks_whose_names_of_layers_differ(tmp_path: Path) -> None:
    spec = ModelSpec.compact(width=8, blocks=1)
    weights = Weights(spec, {name: value.numpy() for name, value in build(spec).state_dict().items()}, "")
    window = np.ascontiguousarray(town(1)[:, :128, :128])
    exact = Restorer.from_weights(weights, runtime="openvino").restore(window)
    rounded = Restorer.from_weights(weights, runtime="openvino-int8").restore(window)
    assert np.abs(exact.astype(int) - rounded).mean() < 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_vnni", True),
        ("fpu avx2 avx_vnni", True),
        ("fpu avx2", True),
        ("fpu avx2 avx512f avx_vnni_int8", False),
        ("fpu avx", False),
        ("", False),
    ],
)
def test_processors_that_multiply_bytes_faster(tmp_path: Path, flags: str, expected: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\nbugs\t: \n")
    assert multiplies_bytes_faster(file) == expected
    assert not multiplies_bytes_faster(tmp_path / "absent")


@pytest.mark.parametrize("faster", [True, False])
def test_auto_takes_them_where_the_processor_multiplies_them_faster(
    monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    monkeypatch.setattr(openvino_runtime, "multiplies_bytes_faster", lambda: faster)
    weights = load_weights(bundled_weights_path("small"))
    name = openvino_runtime.OpenVinoRuntime(weights, eight_bits=None).name
    usual = openvino_runtime.OpenVinoRuntime(weights).name
    assert name == ("openvino cpu int8" if faster and usual == "openvino cpu f32" else usual)
