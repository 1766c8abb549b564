import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from sr_model import (
    GsdMismatchError,
    ModelSpec,
    WeightsError,
    load_weights,
    save_weights,
)
from sr_model.network import build, multiplications_per_px
from sr_model.shipped import BUNDLED, bundled_weights_path, weights_path
from sr_model.weights import _digest

SPEC = ModelSpec.compact(width=8, blocks=1, name="toy")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(3)
    return save_weights(
        tmp_path / "toy.safetensors", SPEC, build(SPEC).state_dict()
    ), tmp_path / "toy.safetensors"


def test_saved_weights_are_loaded_again(saved):
    weights, path = saved
    again = load_weights(path)
    assert again.spec == SPEC
    assert again.digest == weights.digest
    assert again.network().state_dict().keys() == build(SPEC).state_dict().keys()
    assert not list(path.parent.glob(".*"))


def test_the_spec_survives_json():
    spec = dataclasses.replace(SPEC, credit="Größe 'x'", provenance="trained on two towns")
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json())["config"] == {"width": 8, "blocks": 1, "grain": 1}


def test_what_came_later_leaves_older_specs_as_they_were(tmp_path):
    """A spec without training data and metrics has the text, and so the digest, that it had before they existed."""
    assert not {"training", "metrics"} & set(json.loads(SPEC.to_json()))
    full = dataclasses.replace(
        SPEC, training={"aged": ("a.png",), "choices": {"lr": 2.5e-4}}, metrics={"ssim": 0.3}
    )
    assert ModelSpec.from_json(full.to_json()).to_json() == full.to_json()
    saved = save_weights(tmp_path / "full.safetensors", full, build(SPEC).state_dict())
    assert load_weights(tmp_path / "full.safetensors").spec == full == saved.spec
    assert saved.digest != save_weights(tmp_path / "bare.safetensors", SPEC, build(SPEC).state_dict()).digest
    assert full.training["aged"] == ["a.png"]


@pytest.mark.parametrize(
    ("digest_of", "reason"), [("newer", "newer version.*lens"), ("older", "altered or damaged")]
)
def test_weights_of_a_newer_version_are_not_called_damaged(tmp_path, digest_of, reason):
    """A spec with a field that this version does not know, under the digest of that spec, and of another."""
    document = json.loads(SPEC.to_json())
    texts = {"newer": json.dumps(document | {"lens": 3}, sort_keys=True, separators=(",", ":"))}
    texts["older"] = SPEC.to_json()
    stored = {name: value.half() for name, value in build(SPEC).state_dict().items()}
    metadata = {"orthosharp_spec": texts["newer"], "orthosharp_digest": _digest(texts[digest_of], stored)}
    path = tmp_path / "new.safetensors"
    path.write_bytes(save(stored, metadata))
    with pytest.raises(WeightsError, match=reason):
        load_weights(path)


@pytest.mark.parametrize("offset", [-3, -5000])
def test_a_changed_byte_is_found(saved, offset):
    _, path = saved
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="altered or damaged"):
        load_weights(path)


def test_files_that_are_not_weights_are_refused(tmp_path, saved):
    _, path = saved
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        load_weights(tmp_path / "text.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        load_weights(path)
    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="no orthosharp spec"):
        load_weights(tmp_path / "bare.safetensors")


def test_weights_that_diverged_are_refused(tmp_path):
    state = build(SPEC).state_dict()
    state["stem.0.weight"][0] = float("nan")
    with pytest.raises(WeightsError, match="not finite"):
        save_weights(tmp_path / "nan.safetensors", SPEC, state)


def test_an_unknown_architecture_and_a_wrong_stride_are_refused():
    with pytest.raises(WeightsError, match="unknown architecture"):
        build(dataclasses.replace(SPEC, architecture="vit"))
    with pytest.raises(WeightsError, match="has stride 16"):
        build(dataclasses.replace(SPEC, stride=32))
    with pytest.raises(WeightsError, match="not a multiple of stride"):
        dataclasses.replace(SPEC, halo_px=20)


def test_tensors_of_another_size_are_refused(tmp_path, saved):
    _, path = saved
    wider = dataclasses.replace(SPEC, config={"width": 16, "blocks": 1})
    weights = save_weights(tmp_path / "other.safetensors", wider, load_file(path))
    with pytest.raises(WeightsError, match="do not fit"):
        weights.network()


def test_a_photograph_outside_the_trained_range_is_refused():
    SPEC.check_source_gsd(0.61)
    with pytest.raises(GsdMismatchError, match="finer photographs"):
        SPEC.check_source_gsd(0.05)
    with pytest.raises(GsdMismatchError, match="coarser photographs"):
        SPEC.check_source_gsd(10)


RELATIVE = ModelSpec.half_scale(name="any")


def test_relative_weights_say_ratios_and_no_pixel_size(tmp_path):
    document = json.loads(RELATIVE.to_json())
    assert {"ratio", "ratio_range", "max_ratio", "colours"} <= set(document)
    assert not {"gsd_m", "gsd_range_m"} & set(document)
    assert ModelSpec.from_json(RELATIVE.to_json()) == RELATIVE
    saved = save_weights(tmp_path / "any.safetensors", RELATIVE, build(RELATIVE).state_dict())
    assert load_weights(tmp_path / "any.safetensors").spec == RELATIVE == saved.spec


def test_the_weights_of_a_pair_say_a_pixel_size_and_no_ratios():
    pair = ModelSpec.half_scale(gsd_m=0.3)
    for spec in (SPEC, pair):
        assert not spec.is_relative
        assert not {"ratio", "ratio_range", "max_ratio", "colours"} & set(json.loads(spec.to_json()))
    assert (pair.output_gsd_m(0.6), pair.output_gsd_m(0.2)) == (0.3, 0.3)
    assert pair.colours == "network"


@pytest.mark.parametrize("photo_gsd_m", [0.05, 0.1, 0.25, 0.61, 1.2, 2, 5])
def test_relative_weights_refuse_no_photograph(photo_gsd_m):
    RELATIVE.check_source_gsd(photo_gsd_m)
    output_gsd_m = RELATIVE.output_gsd_m(photo_gsd_m)
    assert output_gsd_m == photo_gsd_m / 2
    assert RELATIVE.ratio_of(photo_gsd_m, output_gsd_m) == 2
    warnings = RELATIVE.scale_warnings(photo_gsd_m, output_gsd_m)
    assert bool(warnings) == (photo_gsd_m > 2)
    assert all("0.05 to 2 m" in text for text in warnings)


def test_a_ratio_that_training_did_not_see_is_a_warning_up_to_a_limit():
    RELATIVE.check_output_gsd(0.25, 0.084)
    (warning,) = RELATIVE.scale_warnings(0.25, 0.084)
    assert "2.98 times" in warning
    assert "near 0.125 m" in warning
    assert not RELATIVE.scale_warnings(0.25, 0.1)
    RELATIVE.check_output_gsd(0.25, 0.25)  # as fine as the photograph itself
    with pytest.raises(GsdMismatchError, match=r"coarser than the photograph itself.*0.0694 to 0.25 m"):
        RELATIVE.check_output_gsd(0.25, 0.3)
    with pytest.raises(GsdMismatchError, match=r"finer than the weights can draw.*0.0694 to 0.25 m"):
        RELATIVE.check_output_gsd(0.25, 0.06)
    # Sizes are told in two or three digits.
    RELATIVE.check_output_gsd(0.2499, 0.25)
    RELATIVE.check_output_gsd(0.2499, 0.069)
    assert not RELATIVE.scale_warnings(2.001, 1)
    with pytest.raises(ValueError, match="positive"):
        RELATIVE.ratio_of(0.25, 0)


def test_no_pixel_coarser_than_the_photographs_own_is_advised():
    (warning,) = RELATIVE.scale_warnings(0.25, 0.094, 0.4)
    assert "resolves 0.4 m, 4.26 times" in warning
    assert "near 0.2 m" in warning
    (warning,) = RELATIVE.scale_warnings(0.25, 0.188, 0.84)
    assert "4.47 times" in warning
    assert "near" not in warning
    (size, _) = RELATIVE.scale_warnings(3.0, 0.5, 6.0)
    assert "this one has 3 m" in size


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 0},  # neither kind
        {"gsd_m": 0.3, "gsd_range_m": (0.2, 0.4)},  # both
        {"ratio": 3},
        {"max_ratio": 2},
        {"colours": "sepia"},
        {"own_texture": -0.1},
        {"own_texture_in_woods": 1.5},
        {"own_texture": float("nan")},
        {"own_texture": 0.15, "colours": "network"},
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes):
    with pytest.raises(WeightsError, match="spec is damaged"):
        dataclasses.replace(RELATIVE, **changes)


@pytest.mark.parametrize("changes", [{"colours": "photo"}, {"own_texture": 0.15}])
def test_the_weights_of_a_pair_have_no_colours_or_texture_of_the_photograph(changes):
    with pytest.raises(WeightsError, match="spec is damaged"):
        dataclasses.replace(SPEC, **changes)


def test_weights_are_a_file_or_the_name_of_a_bundled_network():
    assert weights_path(None) == weights_path(Path("best")) == bundled_weights_path()
    assert weights_path(Path("small")) == bundled_weights_path("small") != bundled_weights_path()
    assert weights_path(Path("mine.safetensors")) == Path("mine.safetensors")


def test_the_small_network_takes_a_third_of_the_multiplications():
    best, small = (load_weights(bundled_weights_path(name)).spec for name in BUNDLED)
    assert multiplications_per_px(small) < 7_300
    assert multiplications_per_px(best) > 2.7 * multiplications_per_px(small)
    assert small.name != best.name
    assert small.ratio_range == best.ratio_range


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_weights_are_small_and_verify(name):
    weights = load_weights(bundled_weights_path(name))
    assert bundled_weights_path(name).stat().st_size < 8_000_000
    assert sum(tensor.numel() for tensor in weights.state.values()) <= 3_000_000
    assert weights.spec.credit
    assert "untrained" not in weights.spec.provenance


@pytest.mark.parametrize("name", ["", "été", "two\nlines", "x" * 65])
def test_a_name_that_headers_cannot_carry_is_refused(name):
    with pytest.raises(WeightsError, match="export the weights with a name"):
        dataclasses.replace(SPEC, name=name)
