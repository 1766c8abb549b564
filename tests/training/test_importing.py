import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from command_calls import call
from conftest import middle_tile
from made_models import compact_state, swinir_state, write_model
from safetensors.torch import load_file, save_file

from sr_model import Restorer, load_weights
from tileserver.cli.serve import report_time
from tileserver.tiling.tile import TileRequest
from training.cli.main import main
from training.errors import ImportRefusedError
from training.importing.measure import _part_px, made_ground, measure, shift_px
from training.importing.memory import bytes_per_px
from training.importing.read import read_state

TERMS = ["--licence", "MIT", "--credit", "Somebody"]


def run(model, out, *more, ratio=2):
    arguments = ["import", model, "--ratio", ratio, "--out", out, *TERMS, *more]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    torch.save({"params_ema": compact_state(4, strength=0.3)}, folder / "somebody's model.pth")
    result = run(folder / "somebody's model.pth", folder / "w.safetensors")
    assert result.exit_code == 0, result.output
    assert "RealESRGAN Compact, enlarges 4 times, a ratio of 2" in result.output
    return folder / "w.safetensors"


def test_the_spec_says_how_to_serve_it_and_where_it_comes_from(imported):
    spec = load_weights(imported).spec
    assert (spec.name, spec.licence, spec.credit) == ("somebody-s model", "MIT", "Somebody")
    assert (spec.architecture, spec.colours, spec.ratio) == ("single_image", "photo", 2)
    assert spec.config["scale"] == 4
    # Three convolutions of 3 x 3 at the photograph's pixels.
    assert spec.config["context_px"] == 4
    assert spec.config["step_px"] == 1
    assert spec.halo_px % spec.stride == 0
    assert spec.training["imported"]["file"] == "somebody's model.pth"
    assert len(spec.training["imported"]["sha256"]) == 64
    assert str(imported.parent) not in spec.to_json()


def test_the_tensors_are_those_of_the_file(imported):
    stored = load_file(imported)
    for name, value in compact_state(4, strength=0.3).items():
        assert torch.equal(stored[name], value)


def test_half_precision_stays_half(tmp_path):
    state = {name: value.half() for name, value in compact_state().items()}
    save_file(state, tmp_path / "half.safetensors")
    assert run(tmp_path / "half.safetensors", tmp_path / "w.safetensors").exit_code == 0
    assert {value.dtype for value in load_file(tmp_path / "w.safetensors").values()} == {torch.float16}


def test_windows_of_the_same_ground_meet(imported):
    windows_meet(imported)


def windows_meet(imported):
    """As the server cuts them: each trimmed, the second further right by a whole number of strides."""
    spec = load_weights(imported).spec
    trim = spec.halo_px - spec.stride
    restorer = Restorer.open(imported, device="cpu", trim_px=trim)
    side = 2 * spec.halo_px + 96
    ground = (made_ground(side + 64)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    one, two = (restorer.restore(ground[None, :side, x : x + side])[0].astype(int) for x in (0, 64))
    edge = spec.stride
    difference = np.abs(one[edge:-edge, 64 + edge : -edge] - two[edge:-edge, edge : -64 - edge])
    assert difference.mean() < 0.1
    assert difference.max() <= 3


@pytest.mark.slow
def test_it_is_served_and_restored_like_our_own(imported, make_service, photo, tmp_path, capsys):
    service = make_service(weights=imported, runtime="auto", device="cpu", deadline_s=0.001)
    service.warm_up()
    report_time(service)
    said = capsys.readouterr().err
    assert "A screen of 1920 x 1080 px that was not looked at before takes about" in said
    assert "--deadline-s 0.001" in said
    slow = make_service(weights=imported, runtime="auto", device="cpu")
    tile = middle_tile(slow)
    pixels = {
        layer: slow.raster(layer, "WebMercatorQuad", tile.z, tile.window).rgb.astype(int)
        for layer in ("old", "restored")
    }
    assert np.abs(pixels["old"] - pixels["restored"]).mean() > 0.5
    assert slow.tile(TileRequest("restored", "WebMercatorQuad", tile, "png")).body
    for command, out in (("restore", "out.tif"), ("seed", "out.pmtiles")):
        done = call(command, photo, tmp_path / out, "--weights", imported, "--device", "cpu")
        assert done.exit_code == 0, done.output


class Trap:
    """An object that would make a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", ["pth", "pt", "ckpt"])
def test_no_code_in_a_file_is_run(tmp_path, ending):
    model = tmp_path / f"model.{ending}"
    torch.save({"params": compact_state(), "more": Trap(tmp_path / "sprung")}, model)
    result = run(model, tmp_path / "w.safetensors")
    assert result.exit_code == 2
    assert "could run code" in result.output
    plain = tmp_path / f"plain.{ending}"
    plain.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert run(plain, tmp_path / "w.safetensors").exit_code == 2
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    ("state", "ratio", "why"),
    [
        (compact_state(bands=1), 2, "takes 1 and returns 1 channels, not the three of RGB"),
        (compact_state(bands=4), 2, "takes 4 and returns 4 channels, not the three of RGB"),
        (compact_state(1), 2, "does not enlarge pictures"),
        (compact_state(2), 4, "enlarges 2 times, which is not a multiple of --ratio 4: give --ratio 2"),
        (
            compact_state(3),
            2,
            "not a multiple of --ratio 2: use a model that enlarges 2, 4 or 8 times",
        ),
        ({"strange.weight": torch.zeros(3)}, 2, "is not one that spandrel"),
        ({n: v * np.nan for n, v in compact_state().items()}, 2, "not finite"),
    ],
)
def test_models_that_cannot_be_served_are_refused_with_the_reason(tmp_path, state, ratio, why):
    save_file(state, tmp_path / "model.safetensors")
    result = run(tmp_path / "model.safetensors", tmp_path / "w.safetensors", ratio=ratio)
    assert result.exit_code == 2
    assert why in result.output
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.onnx", b"", "is neither .safetensors nor .pth"),
        ("model.safetensors", b"nothing", "not a readable safetensors file"),
        ("model.pth", b"nothing", "fetch it again"),
        ("model.pth", b"", "fetch it again"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRefusedError, match=why):
        read_state(tmp_path / name)


def test_a_list_or_an_empty_file_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ImportRefusedError, match="holds a list"):
        read_state(tmp_path / "list.pth")
    torch.save({"epoch": 3, "names": {}}, tmp_path / "empty.pth")
    with pytest.raises(ImportRefusedError, match="holds no tensors"):
        read_state(tmp_path / "empty.pth")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--credit", " "], "--credit is empty"),
        (["--licence", ""], "--licence is empty"),
        (["--ratio", "3"], "'3'"),
    ],
)
def test_terms_and_ratio_have_to_be_given(tmp_path, words, why):
    result = run(write_model(tmp_path / "m.safetensors"), tmp_path / "w.safetensors", *words)
    assert result.exit_code == 2
    assert why in result.output


def enlarged(x, scale=2):
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


@pytest.mark.parametrize("moved", [(1, 0), (0, -1), (0, 0)])
def test_a_model_that_moves_the_ground_is_found_out(moved):
    found = shift_px(lambda x: enlarged(x.roll(moved, (-1, -2))), 2, made_ground(256))
    assert found == pytest.approx(moved, abs=0.1)


def test_a_model_that_works_in_squares_is_cut_between_them():
    """Attention in windows is so: what a pixel becomes depends on its place in a square."""

    def squares(x):
        means = F.interpolate(F.avg_pool2d(x, 8, ceil_mode=True), scale_factor=8, mode="nearest")
        return enlarged(x - 0.5 * means[..., : x.shape[-2], : x.shape[-1]])

    found = measure(squares, 2)
    assert found.step_px == 8
    assert found.context_px % 8 == 0
    assert found.part_px % 8 == 0


@pytest.mark.slow
def test_a_transformer_begins_at_multiples_of_its_squares(tmp_path):
    save_file(swinir_state(), tmp_path / "swin.safetensors")
    result = run(tmp_path / "swin.safetensors", tmp_path / "w.safetensors")
    assert result.exit_code == 0, result.output
    spec = load_weights(tmp_path / "w.safetensors").spec
    assert (spec.config["step_px"], spec.stride) == (8, 16)
    assert spec.config["context_px"] % 8 == 0
    windows_meet(tmp_path / "w.safetensors")


def test_a_model_that_looks_at_everything_is_refused():
    with pytest.raises(ImportRefusedError, match="looks further than 48"):
        measure(lambda x: enlarged(x - x.mean((-2, -1), keepdim=True)), 2)


def test_the_context_is_what_a_model_sees():
    def blurred(x):
        for _ in range(7):
            x = F.avg_pool2d(F.pad(x, (1,) * 4), 3, 1)
        return enlarged(x)

    assert 4 <= measure(blurred, 2).context_px <= 12


def test_memory_is_counted_and_bounds_the_parts():
    picture = made_ground(64)
    counted = bytes_per_px(lambda x: torch.cat([x] * 20, 1).mean(1), picture)
    assert 20 * 3 * 4 <= counted <= 24 * 3 * 4
    # What was given back is not counted again.
    assert bytes_per_px(lambda x: sum(torch.cat([x] * 20, 1).mean() for _ in range(5)), picture) < 24 * 3 * 4
    assert _part_px(100, 1, 16) == 512
    assert _part_px(16_000, 8, 24) == 208
    with pytest.raises(ImportRefusedError, match="use a smaller model"):
        _part_px(1e6, 1, 16)


def test_the_lineage_is_json(imported):
    assert json.loads(load_weights(imported).spec.to_json())["training"]["imported"]["architecture"]
