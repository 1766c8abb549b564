"""Serving, seeding and restoring on a CPU need what `pip install orthosharp` brings, without torch."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import rasterio
import torch
from base_install import ROOT, make_environment
from command_calls import call
from conftest import Photo, clean_environment, write_photo

from sr_model import ModelSpec, save_weights

pytestmark = pytest.mark.slow

MISSING = ("torch", "torchvision", "lightning", "spandrel", "onnx", "skimage")
SEED = ("--format", "png", "--zooms", "15-18")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("base") / "venv")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photo(
        tmp_path_factory.mktemp("small") / "old.tif", Photo(width=320, height=300, hole="mask")
    )


def environment() -> dict[str, str]:
    return clean_environment() | {"PYTHONPATH": str(ROOT)}


def run(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "tileserver.cli.entry", *arguments]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment(), timeout=300
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_the_base_install_lacks_what_the_extras_bring(python: Path) -> None:
    program = f"import importlib.util as u; print([n for n in {MISSING!r} if u.find_spec(n)])"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("network", ["bundled", "tiny"])
def test_tiles_and_rasters_have_the_same_bytes_as_beside_torch(
    python: Path, small: Path, tiny_weights: Path, tmp_path: Path, network: str
) -> None:
    options = ["--runtime", "openvino", *(["--weights", tiny_weights] if network == "tiny" else [])]
    made = run(python, "seed", small, tmp_path / "alone", *SEED, *options)
    assert made.returncode == 0, made.stderr
    beside = call("seed", small, tmp_path / "beside", *SEED, *options)
    assert beside.exit_code == 0, beside.output
    tiles = files_of(tmp_path / "alone")
    assert len(tiles) > 4
    assert tiles == files_of(tmp_path / "beside")
    made = run(python, "restore", small, tmp_path / "alone.tif", *options)
    assert made.returncode == 0, made.stderr
    assert call("restore", small, tmp_path / "beside.tif", *options).exit_code == 0
    with rasterio.open(tmp_path / "alone.tif") as one, rasterio.open(tmp_path / "beside.tif") as other:
        assert (one.read() == other.read()).all()
        assert np.std(one.read(1)) > 5


def test_a_server_and_the_card_need_no_torch(python: Path, small: Path) -> None:
    card = run(python, "info", small)
    assert card.returncode == 0, card.stderr
    assert "all of it" in card.stdout
    command = [python, "-m", "tileserver.cli.entry", "serve", small, "--port", "0"]
    server = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert server.stdout is not None
    try:
        banner = ""
        while "Ctrl+C" not in banner:
            line = server.stdout.readline()
            assert line, banner
            banner += line
        assert "on openvino cpu" in banner
        found = re.search(r"http://127\.0\.0\.1:\d+", banner)
        assert found is not None
        document = httpx.get(f"{found[0]}/tilejson.json", timeout=60).json()
        west, south, east, north = document["bounds"]
        preview = httpx.get(f"{found[0]}/restored/bbox/{west},{south},{east},{north}/64x64.png", timeout=60)
        assert preview.status_code == 200
    finally:
        server.terminate()
        server.wait(timeout=60)
        server.stdout.close()


@pytest.mark.parametrize("options", [["--runtime", "torch"], ["--device", "cuda"]], ids=" ".join)
def test_what_needs_torch_says_how_to_get_it(python: Path, small: Path, options: list[str]) -> None:
    done = run(python, "serve", small, "--port", "0", *options)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert "pip install 'orthosharp[torch]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_imported_models_say_what_they_need(python: Path, small: Path, tmp_path: Path) -> None:
    spec = ModelSpec(
        name="theirs",
        architecture="single_image",
        ratio=2.0,
        ratio_range=(2.0, 2.0),
        max_ratio=2.0,
        source_gsd_range_m=(0.05, 2.0),
        stride=8,
        halo_px=16,
        config={"part_px": 64, "context_px": 8, "step_px": 8},
    )
    theirs = tmp_path / "theirs.safetensors"
    save_weights(theirs, spec, {"body.0.weight": torch.zeros(2, 2)})
    done = run(python, "restore", small, tmp_path / "x.tif", "--weights", theirs)
    assert done.returncode == 2
    assert "theirs" in done.stderr
    assert "pip install 'orthosharp[torch]'" in done.stderr
